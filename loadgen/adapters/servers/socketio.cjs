// Rooms on Socket.IO: `join` with an acknowledgement, `message` to everybody in the room, the sender included.
// Run: NODE_PATH=.../node_modules node socketio.cjs PORT
'use strict';
const http = require('node:http').createServer();
const { Server } = require('socket.io');

const io = new Server(http, { transports: ['websocket'], serveClient: false });
const version = `socket.io/${require('socket.io/package.json').version} node/${process.versions.node}`;

io.on('connection', (socket) => {
  socket.emit('server', version);
  socket.on('join', (room, done) => {
    socket.join(room);
    done();
  });
  socket.on('message', (room, body) => io.to(room).emit('message', body));
  socket.on('typing', (room) => socket.to(room).emit('typing'));
});
http.listen(Number(process.argv[2] ?? 8102), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
