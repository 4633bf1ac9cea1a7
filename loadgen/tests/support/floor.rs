//! The bare loop of `benches/floor` on a thread of the test's own: a server that does all well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// It runs until it is ended or dropped.
pub(crate) struct Server {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) thread: Option<JoinHandle<floor::Counts>>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let (tell, told) = std::sync::mpsc::channel();
        // The floor is made where it runs: it does not move between threads.
        let thread = std::thread::spawn(move || {
            let mut floor = floor::Floor::bind("127.0.0.1:0".parse().unwrap(), "user-00000").unwrap();
            tell.send(floor.local_addr().unwrap().port()).unwrap();
            floor.run(&seen).unwrap()
        });
        let url = format!("ws://127.0.0.1:{}", told.recv().unwrap());
        Self { stop, thread: Some(thread), url }
    }

    /// Ends it; what it has counted.
    pub(crate) fn end(mut self) -> floor::Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
