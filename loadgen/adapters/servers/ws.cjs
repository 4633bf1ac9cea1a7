// Rooms on Node's `ws`: the path is the room, and what a member sends goes as it came to every member, itself included.
// Run: NODE_PATH=.../node_modules node ws.cjs PORT
'use strict';
const { WebSocketServer } = require('ws');

const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2] ?? 8101) });
const version = `ws/${require('ws/package.json').version} node/${process.versions.node}`;

server.on('connection', (socket, request) => {
  const name = request.url;
  const room = rooms.get(name) ?? new Set();
  rooms.set(name, room.add(socket));
  socket.on('message', (text) => {
    // A buffer would go out as a binary frame.
    for (const member of room) member.send(text, { binary: false });
  });
  socket.on('error', () => socket.terminate());
  socket.on('close', () => {
    room.delete(socket);
    if (room.size === 0) rooms.delete(name);
  });
  socket.send(JSON.stringify({ joined: name, version }));
});
process.on('SIGTERM', () => process.exit(0));
