//! The administration executor: answers the HTTP requests that are no business of a shard's turn.
//!
//! One unpinned executor of its own. Shards hand it sockets whose request they have read; it writes one
//! answer, waits for the peer's end and closes. What only shards know or can do it asks them (`asking`): a question
//! goes through their inboxes like a message from another shard, the answer comes back through a bounded channel, and
//! no shard waits for either. Absent: health and readiness, which a shard answers itself, as only a shard that turns
//! can; event streams, which are members on their shards.

mod answer;
mod api;
mod asking;
mod assets;
mod body;
mod clock;
mod desk;
mod entrance;
mod erasure;
mod exposition;
mod numbers;
pub mod process;
mod refusal;
mod route;
mod stats;
mod trail;
mod written;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use glommio::net::TcpStream;
use glommio::sync::Semaphore;
use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::audit::Entry;
use crate::auth::{Claims, Policy};
use crate::limits::{
    ADMIN_IO_MEMORY_BYTES, ADMIN_LINGER_BYTES_MAX, ADMIN_LINGER_MS, ADMIN_LINGERING_COUNT_MAX, ADMIN_OPEN_COUNT_MAX,
    ADMIN_RING_ENTRIES, ADMIN_WRITE_DEADLINE_MS, DESK_CLIENTS_MAX,
};
use crate::mesh::{AdminJob, Hatch, LogPost, Lost, Parcel, Post, Transport, hatch};
use crate::metrics::Metrics;
use crate::route::HashKey;
use crate::shard::message::AdminRequest;
use crate::shard::message::outside::Answered;
use crate::wire::cors;
use crate::wire::http::{Request, Response};
use asking::Asker;
pub use clock::{unix, unix_ms};
use desk::Desk;
pub use desk::{GiveBackup, SetFilter, Tools};
use numbers::Tally;
use refusal::Refusal;
use route::Route;
pub use stats::{Finding, Known};
pub use trail::dump;

/// What the answers are made of.
#[derive(Debug)]
pub struct Options {
    /// Every shard's numbers, by shard.
    pub metrics: Vec<Arc<Metrics>>,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// Who may do what from then on.
    pub policies: Hatch<Arc<Policy>>,
    /// Places channels, as the shards do.
    pub key: HashKey,
    /// Whether who connects from this machine may ask what needs `admin`.
    pub loopback: bool,
    /// What was said to the log and the audit and not written.
    pub lost: Lost,
    /// The way to where it is kept who administered, if it is.
    pub audit: Option<LogPost>,
    /// The way to the shards.
    pub post: Post<Parcel>,
    /// What samples of the numbers say beside them.
    pub known: Known,
    /// Where the administration's Unix socket listens, if there is one, and what it works with.
    pub desk: Option<(UnixListener, Tools)>,
}

/// What the executor keeps.
#[derive(Debug)]
struct Office {
    metrics: Vec<Arc<Metrics>>,
    policy: RefCell<Arc<Policy>>,
    loopback: bool,
    lost: Lost,
    audit: Option<LogPost>,
    asker: Asker,
    key: HashKey,
    tally: Tally,
    known: Known,
    /// One user at a time is erased.
    erasing: Semaphore,
}

impl Office {
    /// Keeps that somebody has changed something, or was refused it, if that is kept.
    fn keep(&self, request: &AdminRequest, status: u16) {
        let Some(audit) = self.audit.as_ref().filter(|_| !matches!(&*request.request.method, "GET" | "HEAD")) else {
            return;
        };
        let action = format!("{} {}", request.request.method, request.request.path);
        let user = request.bearer.as_ref().map(|claims| Arc::clone(&claims.user));
        let (peer, code) = (Some(request.peer), Some(status));
        audit.keep(Entry { user, peer, code, ..Entry::new(unix_ms(), "administered", action) });
    }
}

/// Starts the executor on a thread of its own. It ends when no sender of `inbox` is left and every
/// answer is written or cut. Shards answer through `answers`.
///
/// # Errors
/// When the executor's rings cannot be made.
pub fn spawn(inbox: Hatch<AdminJob>, answers: Hatch<Answered>, options: Options) -> io::Result<ExecutorJoinHandle<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name("admin")
        .ring_depth(ADMIN_RING_ENTRIES)
        .io_memory(ADMIN_IO_MEMORY_BYTES)
        .spawn(move || run(inbox, answers, options))
        .map_err(io::Error::other)
}

/// Answers until the senders are gone.
///
/// # Cancel safety
/// Dropping the future drops the sockets that wait; answers under way end with their executor.
async fn run(inbox: Hatch<AdminJob>, answers: Hatch<Answered>, options: Options) {
    let Options { metrics, policy, policies, key, loopback, lost, audit, post, known, desk } = options;
    let (asker, tally) = (Asker::new(post, key), Tally::default());
    let policy = RefCell::new(policy);
    let erasing = Semaphore::new(1);
    let office = Rc::new(Office { metrics, policy, loopback, lost, audit, asker, key, tally, known, erasing });
    let at_answers = Rc::clone(&office);
    glommio::spawn_local(async move {
        take_all(answers, async |answered| at_answers.asker.on_answer(answered)).await;
    })
    .detach();
    let at_policies = Rc::clone(&office);
    glommio::spawn_local(async move {
        take_all(policies, async |policy| drop(at_policies.policy.replace(policy))).await;
    })
    .detach();
    let at_samples = Rc::clone(&office);
    // Ends with the executor.
    glommio::spawn_local(async move {
        stats::run(&at_samples.asker, &at_samples.metrics, &at_samples.known).await;
    })
    .detach();
    if let Some((listener, tools)) = desk {
        open_desk(&office, listener, tools);
    }
    let open = Rc::new(Semaphore::new(ADMIN_OPEN_COUNT_MAX as u64));
    let lingering = Rc::new(Semaphore::new(ADMIN_LINGERING_COUNT_MAX as u64));
    take_all(inbox, async |job| {
        let Ok(permit) = open.acquire_static_permit(1).await else { return };
        let (office, lingering) = (Rc::clone(&office), Rc::clone(&lingering));
        glommio::spawn_local(async move {
            let answered = serve(job, &office).await;
            // Taken before the other is given back, so that at the end none is between the two.
            let place = lingering.try_acquire_static_permit(1);
            // A peer that does not close keeps its own socket waiting, and nobody's answer.
            drop(permit);
            if let (Some(socket), Ok(_place)) = (answered, place) {
                linger(socket).await;
            }
        })
        .detach();
    })
    .await;
    // Every permit back: every answer is done. Each is bounded by its deadlines, and so is this.
    let _all_answered = open.acquire(ADMIN_OPEN_COUNT_MAX as u64).await;
    let _all_closed = lingering.acquire(ADMIN_LINGERING_COUNT_MAX as u64).await;
}

/// Serves who comes through the Unix socket from now on.
fn open_desk(office: &Rc<Office>, listener: UnixListener, tools: Tools) {
    let opened = hatch(DESK_CLIENTS_MAX).and_then(|(post, entrance)| entrance::open(listener, post).map(|()| entrance));
    match opened {
        Ok(entrance) => {
            glommio::spawn_local(desk::serve(entrance, Desk::new(Rc::clone(office), tools))).detach();
        }
        Err(error) => tracing::error!(%error, "the administration's socket cannot be served"),
    }
}

/// Takes what comes through a hatch until nobody is left to put something.
///
/// # Cancel safety
/// What was put and not taken is dropped with the hatch.
async fn take_all<T>(hatch: Hatch<T>, mut take: impl AsyncFnMut(T)) {
    let Hatch { queue, wake } = hatch;
    // A ring's receive on a nonblocking descriptor answers at once that nothing is there; on a blocking
    // one it waits in the ring.
    if wake.set_nonblocking(false).is_err() {
        return;
    }
    // The executor library makes its stream from any connected socket; this one is a Unix pair.
    let mut wake = TcpStream::from(socket2::Socket::from(OwnedFd::from(wake)));
    let mut bytes = [0; 64];
    loop {
        // Ended or failed: nobody is left to wake us. What was put before is still taken.
        let more = wake.read(&mut bytes).await.is_ok_and(|count| count > 0);
        while let Ok(item) = queue.try_recv() {
            take(item).await;
        }
        if !more {
            break;
        }
    }
}

/// Writes one answer. Returns the socket if the peer took it.
///
/// # Cancel safety
/// Not to be resumed: what was written of the answer is lost with the future, as is the socket.
async fn serve(job: AdminJob, office: &Office) -> Option<TcpStream> {
    let AdminJob { transport: Transport::Plain(socket), request } = job;
    let mut socket = TcpStream::from(socket2::Socket::from(socket));
    let outcome = respond(&mut socket, &request, office).await;
    office.keep(&request, outcome.as_ref().map_or_else(|refusal| refusal.status, |_| 200));
    let response = outcome.unwrap_or_else(|refusal| refusal.response());
    let shared = cors::headers(request.allowed_origin.as_deref());
    let response = shared.fold(response, |response, (name, value)| response.add(name, value));
    let answer = answer::encode(response, &request.request.method);
    let written = async {
        socket.write_all(&answer).await?;
        socket.shutdown(std::net::Shutdown::Write).await.map_err(io::Error::other)
    };
    within(ADMIN_WRITE_DEADLINE_MS, written).await.map(|()| socket)
}

/// Waits for the peer's end, and closes.
///
/// RFC 9112 section 9.6: closing while the peer still sends resets the connection, and the answer may be lost with it.
/// So read until the peer ends, within bounds.
///
/// # Cancel safety
/// The socket is closed.
async fn linger(mut socket: TcpStream) {
    let drained = async {
        let (mut bytes, mut dropped) = ([0; 1024], 0);
        loop {
            let count = socket.read(&mut bytes).await?;
            dropped += count;
            if count == 0 || dropped > ADMIN_LINGER_BYTES_MAX {
                return Ok(());
            }
        }
    };
    within(ADMIN_LINGER_MS, drained).await;
}

/// The answer to a request.
///
/// # Cancel safety
/// What shards were asked to do may be done all the same.
async fn respond(socket: &mut TcpStream, request: &AdminRequest, office: &Office) -> Result<Response, Refusal> {
    let AdminRequest { peer, request, bearer, leftover, .. } = request;
    let route = Route::find(&request.path)?.by_method(&request.method);
    if !route.methods().split(", ").any(|method| method == request.method) {
        return Err(Refusal::method(route.methods()));
    }
    // Before the body is read: whoever may not ask shall not send.
    let open_to_loopback = office.loopback && request.is_domestic();
    let policy = Arc::clone(&office.policy.borrow());
    let claims = route.access().grant(bearer.as_ref(), (*peer, open_to_loopback), &policy)?;
    let body = if request.method == "POST" { body::read(socket, request, leftover).await? } else { Vec::new() };
    match claims {
        Some(claims) if route.access() == route::Access::Backend => {
            answer_backend(&route, request, &body, claims, office).await
        }
        _ => answer_operator(&route, request, &body, office).await,
    }
}

/// What backends ask.
///
/// # Cancel safety
/// As [`respond`].
async fn answer_backend(
    route: &Route,
    request: &Request,
    body: &[u8],
    claims: &Arc<Claims>,
    office: &Office,
) -> Result<Response, Refusal> {
    let (asker, trace) = (&office.asker, written::trace_of(request));
    match route {
        Route::Publish => api::publish(asker, written::publish(body, claims)?, trace).await,
        Route::Broadcast => Ok(api::publish_all(asker, written::broadcast(body, claims)?, trace).await),
        Route::Batch => Ok(api::publish_all(asker, written::batch(body, claims)?, trace).await),
        Route::History(channel) => api::history(asker, channel, &request.query, claims).await,
        Route::Presence(channel) => api::presence(asker, channel, claims).await,
        _ => Err(Refusal::NOT_FOUND),
    }
}

/// What everybody and what operators ask.
///
/// # Cancel safety
/// As [`respond`].
async fn answer_operator(route: &Route, request: &Request, body: &[u8], office: &Office) -> Result<Response, Refusal> {
    let Office { metrics, asker, tally, known, .. } = office;
    match route {
        Route::Asset => assets::answer(request).ok_or(Refusal::NOT_FOUND),
        Route::Metrics => Ok(answer::metrics(metrics, &office.lost, (&known.traffic, known.store.as_deref()))),
        Route::Health => Ok(numbers::health(asker, tally, metrics).await),
        Route::Numbers => numbers::numbers(asker, tally, metrics).await,
        Route::Connections => numbers::connections(asker, &request.query, metrics).await,
        Route::Connection(name) => numbers::disconnect(asker, name).await,
        Route::Disconnect => api::apply(asker, written::disconnect(body)?).await,
        Route::Unsubscribe => api::apply(asker, written::unsubscribe(body)?).await,
        Route::Erase(channel) => api::erase(asker, channel).await,
        Route::User(user) => erasure::erase(asker, &office.erasing, user).await,
        _ => Err(Refusal::NOT_FOUND),
    }
}

/// The outcome of `work`, or `None` if it failed or took longer than `ms`.
///
/// # Cancel safety
/// As `work`, which is dropped at the deadline.
async fn within(ms: u64, work: impl Future<Output = io::Result<()>>) -> Option<()> {
    let late = async {
        Timer::new(Duration::from_millis(ms)).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await.ok()
}

#[cfg(test)]
mod tests;
