//! A shard for HTTP/2 and TLS: the same books, arrivals and connection policy, with hyper and rustls on the wire.
//!
//! One single-threaded runtime a shard. Each connection carries one request at a time, in HTTP/2 too, so that the
//! policy means the same for every protocol. Planned moments come from a timer of nanoseconds; the runtime's own has
//! milliseconds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use tokio::task::LocalSet;

use crate::arithmetic::Random;
use crate::engine::clock::now_ns;
use crate::engine::ledger::Ledger;
use crate::engine::poll::{Timer, exact_timers};
use crate::engine::schedule::{Schedule, Turn};
use crate::engine::slot::Work;
use crate::engine::tally::{Class, Tally, record};
use crate::engine::target::Rotation;
use crate::engine::wire::{Connection, Dialer, Failure};
use crate::engine::{FromShard, Setup};

const TICK_NS: u64 = 10_000_000;
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
const SHARD_STREAM: u64 = 0x6c61_7965;
const SESSION_STREAM: u64 = 0x7365_7373;

/// Runs a shard to its end.
pub fn run(
    setup: &Arc<Setup>,
    number: u32,
    to_report: Sender<FromShard>,
    emptied: Receiver<Box<Tally>>,
) -> std::io::Result<()> {
    exact_timers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dialer = Dialer::new(setup).map_err(std::io::Error::other)?;
    let shard = Rc::new(Shard {
        setup: setup.clone(),
        number,
        dialer,
        open_max: setup.share_of_shard(number, setup.connections_max).max(1) as usize,
        backlog_max: setup.share_of_shard(number, setup.part.share(setup.load.connections.backlog_max)) as usize,
        books: RefCell::new(Books {
            ledger: Ledger::new(setup, number, to_report, emptied),
            idle: VecDeque::new(),
            backlog: VecDeque::new(),
            rotation: Rotation::new(&setup.addresses, number as usize),
            random: Random::new(setup.load.seed, SHARD_STREAM + setup.number_of_all(number)),
            open: 0,
            running: 0,
        }),
    });
    let local = LocalSet::new();
    local.block_on(&runtime, shard.clone().drive())?;
    // Ends the tasks of an interrupted run; what they had sent stays in flight.
    drop(local);
    drop(runtime);
    if let Ok(shard) = Rc::try_unwrap(shard) {
        let books = shard.books.into_inner();
        books.ledger.finish(now_ns(), books.backlog.len());
    }
    Ok(())
}

struct Shard {
    setup: Arc<Setup>,
    number: u32,
    dialer: Dialer,
    open_max: usize,
    backlog_max: usize,
    books: RefCell<Books>,
}

/// What the tasks of a shard share; never borrowed across an await.
struct Books {
    ledger: Ledger,
    idle: VecDeque<Held>,
    backlog: VecDeque<Work>,
    rotation: Rotation,
    random: Random,
    /// Connections, being dialed or open.
    open: usize,
    /// Tasks that are at work on a request or in a pause between two.
    running: usize,
}

/// A connection and how long it may live.
struct Held {
    connection: Connection,
    answered: u32,
    answers_max: u32,
    expires_ns: u64,
}

impl Shard {
    /// Hands over the arrivals at their moments, and waits for the rest.
    async fn drive(self: Rc<Self>) -> std::io::Result<()> {
        let timer = Timer::new()?;
        let stopped = || self.setup.stop.load(Ordering::Relaxed);
        while now_ns() < self.setup.start_ns && !stopped() {
            timer.sleep_until(self.setup.start_ns.min(now_ns() + TICK_NS)).await?;
        }
        let (load, curve) = (&self.setup.load, &self.setup.curve);
        let turn = Turn { part: self.setup.part, shard: self.number, shards: self.setup.shards };
        let mut schedule = load.pattern.as_ref().map(|_| Schedule::new(load, curve, turn));
        let mut next = schedule.as_mut().and_then(Iterator::next);
        if schedule.is_none() {
            self.start_clients();
        }
        loop {
            let now = now_ns();
            while let Some(arrival) = next.filter(|arrival| self.setup.start_ns + arrival.at_ns <= now) {
                next = schedule.as_mut().and_then(Iterator::next);
                self.arrive(arrival.index, self.setup.start_ns + arrival.at_ns);
            }
            self.keep_books(now);
            if stopped() || (next.is_none() && self.is_over(now)) {
                return Ok(());
            }
            let planned_ns = next.map_or(u64::MAX, |arrival| self.setup.start_ns + arrival.at_ns);
            timer.sleep_until(planned_ns.min(now + TICK_NS)).await?;
        }
    }

    fn keep_books(&self, now: u64) {
        let mut books = self.books.borrow_mut();
        let (backlog, before) = (books.backlog.len(), books.idle.len());
        books.ledger.roll_over(now, backlog);
        books.idle.retain(|held| now < held.expires_ns && held.connection.is_open());
        let closed = before - books.idle.len();
        books.forget(closed);
    }

    fn is_over(&self, now: u64) -> bool {
        let mut books = self.books.borrow_mut();
        if now < self.setup.end_ns {
            return false;
        }
        if now >= self.setup.drain_end_ns() {
            let given_up = books.backlog.len() as u64;
            books.ledger.tally.unsent += given_up;
            books.backlog.clear();
        }
        books.running == 0 && books.backlog.is_empty()
    }

    fn start_clients(self: &Rc<Self>) {
        for client in 0..self.open_max as u64 {
            let index = self.setup.client(self.number, client);
            self.books.borrow_mut().ledger.tally.planned += 1;
            self.start(self.work(index, 0, 0, now_ns()));
        }
    }

    fn arrive(self: &Rc<Self>, index: u64, planned_ns: u64) {
        let follow_ups = self.setup.load.sessions.map_or(0, |sessions| {
            let mut random = Random::new(self.setup.load.seed ^ index, SESSION_STREAM);
            random.between(sessions.requests[0] as u64, sessions.requests[1] as u64) as u32 - 1
        });
        let late_us = now_ns().saturating_sub(planned_ns).div_ceil(1000);
        record(&mut self.books.borrow_mut().ledger.tally.pacing_us, late_us);
        self.plan(self.work(index, 0, follow_ups, planned_ns));
    }

    fn work(&self, index: u64, step: u32, follow_ups: u32, planned_ns: u64) -> Work {
        Work { planned_ns, index, step, follow_ups, request: self.setup.mix.pick(index, step), retried: false }
    }

    /// A request becomes due: it is started, waits for a connection, or is shed.
    fn plan(self: &Rc<Self>, work: Work) {
        let mut books = self.books.borrow_mut();
        books.ledger.tally.planned += 1;
        if !books.idle.is_empty() || books.open < self.open_max {
            drop(books);
            self.start(work);
        } else if books.backlog.len() < self.backlog_max {
            books.backlog.push_back(work);
        } else {
            books.ledger.tally.shed += 1;
        }
    }

    /// Starts a task that sends a request, and then whatever waits.
    fn start(self: &Rc<Self>, work: Work) {
        let shard = self.clone();
        let mut books = self.books.borrow_mut();
        books.running += 1;
        // Counted here and not in the task: an interrupted run may end before the task is ever looked at.
        books.ledger.tally.sent += 1;
        let held = books.idle.pop_front();
        books.open += held.is_none() as usize;
        drop(books);
        tokio::task::spawn_local(async move {
            shard.serve(work, held).await;
            shard.books.borrow_mut().running -= 1;
        });
    }

    async fn serve(self: &Rc<Self>, mut work: Work, mut held: Option<Held>) {
        loop {
            let (kept, class) = self.send(work, held).await;
            held = kept;
            let is_closed_loop = self.setup.load.pattern.is_none();
            if is_closed_loop {
                if !matches!(class, Class::Ok | Class::Status4xx | Class::Status5xx) {
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
                let now = now_ns();
                if now >= self.setup.end_ns {
                    return self.put_back(held);
                }
                let mut books = self.books.borrow_mut();
                books.ledger.tally.planned += 1;
                books.ledger.tally.sent += 1;
                books.open += held.is_none() as usize;
                drop(books);
                work = self.work(work.index, work.step.wrapping_add(1), 0, now);
                continue;
            }
            self.follow_up(work);
            let mut books = self.books.borrow_mut();
            let Some(waiting) = books.backlog.pop_front() else {
                drop(books);
                return self.put_back(held);
            };
            books.ledger.tally.sent += 1;
            books.open += held.is_none() as usize;
            work = waiting;
        }
    }

    fn put_back(&self, held: Option<Held>) {
        self.books.borrow_mut().idle.extend(held);
    }

    /// Plans the next request of a session.
    fn follow_up(self: &Rc<Self>, work: Work) {
        let (Some(sessions), 1..) = (self.setup.load.sessions, work.follow_ups) else { return };
        let mut random = Random::new(self.setup.load.seed ^ work.index, SESSION_STREAM ^ (1 + work.step as u64));
        let think = sessions.think.as_duration().mul_f64(random.exponential());
        let planned_ns = now_ns() + think.as_nanos() as u64;
        if planned_ns >= self.setup.drain_end_ns() {
            return;
        }
        self.books.borrow_mut().running += 1;
        let shard = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(think).await;
            shard.plan(shard.work(work.index, work.step + 1, work.follow_ups - 1, planned_ns));
            shard.books.borrow_mut().running -= 1;
        });
    }

    /// Sends one request, which is counted as sent, and counts its end; the connection comes back when it may live on.
    async fn send(&self, work: Work, held: Option<Held>) -> (Option<Held>, Class) {
        let sent_ns = now_ns();
        let timeout = self.setup.load.timeout.as_duration();
        let outcome = tokio::time::timeout(timeout, self.exchange(work, held)).await;
        let (held, class, pod) = match outcome {
            Ok((held, Ok(answer))) => {
                let mut books = self.books.borrow_mut();
                books.ledger.tally.statuses[answer.status as usize % 1000] += 1;
                books.ledger.tally.bytes_received += answer.bytes;
                (held, Class::of_status(answer.status), answer.pod)
            }
            Ok((held, Err(failure))) => {
                self.books.borrow_mut().ledger.explain(failure.class, failure.why);
                (held, failure.class, None)
            }
            Err(_) => {
                let why = format_args!("no complete answer within {}", self.setup.load.timeout);
                self.books.borrow_mut().ledger.explain(Class::Timeout, why);
                (None, Class::Timeout, None)
            }
        };
        let now = now_ns();
        let mut books = self.books.borrow_mut();
        let service_us = books.ledger.record(class, work.planned_ns, sent_ns, now);
        if let Some(pod) = pod {
            let place = books.ledger.tally.pod(&pod);
            books.ledger.tally.record_pod(place, class, service_us);
        }
        let alive = held.filter(|held| {
            held.answered < held.answers_max
                && now < held.expires_ns
                && held.connection.is_open()
                && class != Class::Timeout
        });
        if alive.is_none() {
            books.forget(1);
        }
        (alive, class)
    }

    /// Dials where needed and exchanges one request for one answer.
    async fn exchange(&self, work: Work, held: Option<Held>) -> (Option<Held>, Result<Answer, Failure>) {
        let request = &self.setup.mix.requests[work.request as usize];
        let pod_header = self.setup.pod_header.as_str();
        let reused = held.is_some();
        let mut held = match held {
            Some(held) => held,
            None => match self.dial().await {
                Ok(held) => held,
                Err(failure) => return (None, Err(failure)),
            },
        };
        let mut outcome = held.connection.exchange(&self.setup.target, request, pod_header).await;
        let stale = reused && request.idempotent && matches!(&outcome, Err(failure) if failure.before_answer);
        if stale && self.setup.load.connections.retry_stale {
            // The server closed an idle connection while the request was on its way: it was never looked at.
            self.count_stale();
            held = match self.dial().await {
                Ok(held) => held,
                Err(failure) => return (None, Err(failure)),
            };
            outcome = held.connection.exchange(&self.setup.target, request, pod_header).await;
        }
        match outcome {
            Ok(answer) => {
                held.answered += 1;
                (Some(held), Ok(answer))
            }
            Err(failure) => (None, Err(failure)),
        }
    }

    fn count_stale(&self) {
        let tally = &mut self.books.borrow_mut().ledger.tally;
        tally.retried += 1;
        tally.connections.closed += 1;
        tally.connections.open -= 1;
    }

    async fn dial(&self) -> Result<Held, Failure> {
        let address = self.books.borrow_mut().rotation.next_address();
        let address = address.ok_or_else(|| Failure::new(Class::Dns, "the host's name has no address any more"))?;
        let connection = self.dialer.dial(address).await?;
        let mut books = self.books.borrow_mut();
        books.ledger.tally.connections.opened += 1;
        books.ledger.tally.connections.open += 1;
        let policy = &self.setup.load.connections;
        let answers_max = match policy.max_requests {
            Some([fewest, most]) => books.random.between(fewest as u64, most as u64) as u32,
            None => u32::MAX,
        };
        let factor = 1.0 + policy.jitter * (2.0 * books.random.unit() - 1.0);
        let expires_ns = policy.max_age.map_or(u64::MAX, |age| now_ns() + (age.as_ns() as f64 * factor) as u64);
        Ok(Held { connection, answered: 0, answers_max, expires_ns })
    }
}

impl Books {
    /// Connections that are gone, or never came to be.
    fn forget(&mut self, count: usize) {
        self.open -= count;
        let tally = &mut self.ledger.tally;
        let open_now = self.open as u64;
        if tally.connections.open > open_now {
            tally.connections.closed += tally.connections.open - open_now;
            tally.connections.open = open_now;
        }
    }
}

/// What an answer told.
pub struct Answer {
    pub status: u16,
    pub bytes: u64,
    pub pod: Option<Vec<u8>>,
}
