//! One shard: a single-threaded event loop that owns its share of the arrivals, its connections and its histograms.
//!
//! An arrival is handed to the connection that has been idle longest, else to a new one, else it waits; if too many
//! wait it is shed. Latency counts from the planned moment in any case. A closed loop is the same machine whose
//! clients plan their next request when the last one ended. Per answered request there are two system calls and no
//! allocation.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

use rustix::io::Errno;

use crate::arithmetic::Random;
use crate::engine::clock::now_ns;
use crate::engine::ledger::Ledger;
use crate::engine::poll::{Poll, Ready, exact_timers};
use crate::engine::response::Progress;
use crate::engine::schedule::{Arrival, Schedule, Turn};
use crate::engine::slot::{Slot, State, Work, class_of, class_of_io, dial};
use crate::engine::tally::{Class, Tally, record};
use crate::engine::target::Rotation;
use crate::engine::{FromShard, Setup};

const BUFFER_BYTES: usize = 64 * 1024;
/// Longest sleep: how soon Ctrl-C is seen.
const SLEEP_MAX_NS: u64 = 20_000_000;
/// A client of a closed loop that could not dial waits so long before it dials again, ...
const REDIAL_PAUSE_NS: u64 = 10_000_000;
/// ... and so long after any other failure: a server that fails at once must not keep the loop from its other work.
const FAILURE_PAUSE_NS: u64 = 1_000_000;
const SHARD_STREAM: u64 = 0x7368_6172;

pub struct Shard<'a> {
    setup: &'a Setup,
    number: u32,
    poll: Poll,
    slots: Vec<Slot>,
    free: Vec<u32>,
    idle: VecDeque<(u32, u32)>,
    backlog: VecDeque<Work>,
    /// Requests planned for later: follow-ups of sessions, and clients that pause before dialing again.
    sleeping: BinaryHeap<Reverse<(u64, u64, u32, u32)>>,
    schedule: Option<Schedule>,
    next: Option<Arrival>,
    rotation: Rotation,
    random: Random,
    slots_max: usize,
    backlog_max: usize,
    /// Until when every connection was busy.
    blocked_until_ns: u64,
    /// Requests on connections, dialing or waiting for an answer.
    outstanding: usize,
    ledger: Ledger,
    sweep_ns: u64,
    sweep_every_ns: u64,
    buffer: Box<[u8]>,
}

impl<'a> Shard<'a> {
    pub fn new(
        setup: &'a Setup,
        number: u32,
        to_report: Sender<FromShard>,
        emptied: Receiver<Box<Tally>>,
    ) -> std::io::Result<Self> {
        let slots_max = setup.share_of_shard(number, setup.connections_max).max(1) as usize;
        let backlog_max = setup.share_of_shard(number, setup.part.share(setup.load.connections.backlog_max)) as usize;
        let turn = Turn { part: setup.part, shard: number, shards: setup.shards };
        let schedule = setup.load.pattern.as_ref().map(|_| Schedule::new(&setup.load, &setup.curve, turn));
        let sweep_every_ns = (setup.load.timeout.as_ns() / 20).clamp(1_000_000, 50_000_000);
        Ok(Self {
            setup,
            number,
            poll: Poll::new()?,
            slots: Vec::with_capacity(slots_max.min(1024)),
            free: Vec::with_capacity(slots_max.min(1024)),
            idle: VecDeque::with_capacity(slots_max.min(1024)),
            backlog: VecDeque::with_capacity(1024),
            sleeping: BinaryHeap::new(),
            schedule,
            next: None,
            rotation: Rotation::new(&setup.addresses, number as usize),
            random: Random::new(setup.load.seed, SHARD_STREAM + setup.number_of_all(number)),
            slots_max,
            backlog_max,
            blocked_until_ns: 0,
            outstanding: 0,
            ledger: Ledger::new(setup, number, to_report, emptied),
            sweep_ns: setup.start_ns,
            sweep_every_ns,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    /// Runs to the end of the load, the drain included, or until the run is stopped.
    pub fn run(mut self) {
        exact_timers();
        self.wait_for_start();
        let mut now = now_ns();
        match &mut self.schedule {
            Some(schedule) => self.next = schedule.next(),
            None => self.start_clients(now),
        }
        while !self.is_over(now) {
            now = self.dispatch_due(now);
            let blocked = self.is_blocked();
            let ready = self.poll.wait(self.sleep_ns(now, blocked));
            if blocked {
                self.blocked_until_ns = now_ns();
            }
            for index in 0..ready {
                let event = self.poll.ready(index);
                self.on_event(event);
                if self.next.is_some() {
                    self.serve_backlog();
                    self.dispatch_due(now_ns());
                }
            }
            self.serve_backlog();
            now = now_ns();
            self.ledger.roll_over(now, self.backlog.len());
            if now >= self.sweep_ns {
                self.sweep(now);
            }
        }
        self.ledger.finish(now, self.backlog.len());
    }

    fn wait_for_start(&mut self) {
        loop {
            let now = now_ns();
            if now >= self.setup.start_ns || self.setup.stop.load(Ordering::Relaxed) {
                return;
            }
            self.poll.wait((self.setup.start_ns - now).min(SLEEP_MAX_NS));
        }
    }

    fn is_over(&mut self, now: u64) -> bool {
        if self.setup.stop.load(Ordering::Relaxed) {
            return true;
        }
        if now < self.setup.end_ns || self.next.is_some() {
            return false;
        }
        if now >= self.setup.drain_end_ns() {
            // What still waits for a connection is given up; what was sent is waited for.
            self.ledger.tally.unsent += self.backlog.len() as u64;
            self.backlog.clear();
            self.sleeping.clear();
        }
        self.outstanding == 0 && self.backlog.is_empty() && self.sleeping.is_empty()
    }

    /// Whether no arrival could be sent: every connection is busy and there may not be more. Then it is no use to wake at
    /// planned moments; what came due meanwhile is taken up at the next event, and is not the generator's lateness.
    fn is_blocked(&self) -> bool {
        self.next.is_some() && self.idle.is_empty() && self.slots.len() - self.free.len() >= self.slots_max
    }

    fn sleep_ns(&self, now: u64, blocked: bool) -> u64 {
        let mut wake = (now + SLEEP_MAX_NS).min(self.ledger.interval_end_ns()).min(self.sweep_ns);
        if let (Some(arrival), false) = (self.next, blocked) {
            wake = wake.min(self.setup.start_ns + arrival.at_ns);
        }
        if let Some(Reverse((at_ns, ..))) = self.sleeping.peek() {
            wake = wake.min(*at_ns);
        }
        wake.saturating_sub(now)
    }

    /// Hands over everything whose planned moment has come. The clock is read anew for each, since sending takes time.
    fn dispatch_due(&mut self, mut now: u64) -> u64 {
        while let Some(arrival) = self.next {
            let planned_ns = self.setup.start_ns + arrival.at_ns;
            if planned_ns > now {
                break;
            }
            self.next = self.schedule.as_mut().and_then(Iterator::next);
            self.record_pacing(planned_ns, now);
            let follow_ups = self.follow_ups(arrival.index);
            self.plan(Work {
                planned_ns,
                index: arrival.index,
                step: 0,
                follow_ups,
                request: self.setup.mix.pick(arrival.index, 0),
                retried: false,
            });
            now = now_ns();
        }
        while let Some(Reverse((planned_ns, index, step, follow_ups))) = self.sleeping.peek().copied() {
            if planned_ns > now {
                break;
            }
            self.sleeping.pop();
            if self.schedule.is_some() || now < self.setup.end_ns {
                // A client of a closed loop plans when it acts; a session's follow-up was planned when its pause began.
                let planned_ns = match self.schedule {
                    Some(_) => {
                        self.record_pacing(planned_ns, now);
                        planned_ns
                    }
                    None => now,
                };
                let request = self.setup.mix.pick(index, step);
                self.plan(Work { planned_ns, index, step, follow_ups, request, retried: false });
            }
            now = now_ns();
        }
        now
    }

    /// How late this generator handed over a request; not counted is the time in which no connection was free.
    #[inline]
    fn record_pacing(&mut self, planned_ns: u64, now: u64) {
        let late_ns = now.saturating_sub(planned_ns.max(self.blocked_until_ns));
        record(&mut self.ledger.tally.pacing_us, late_ns.div_ceil(1000));
    }

    fn follow_ups(&self, index: u64) -> u32 {
        match self.setup.load.sessions {
            Some(sessions) => {
                let mut random = Random::new(self.setup.load.seed ^ index, SHARD_STREAM);
                random.between(sessions.requests[0] as u64, sessions.requests[1] as u64) as u32 - 1
            }
            None => 0,
        }
    }

    fn start_clients(&mut self, now: u64) {
        for client in 0..self.slots_max as u64 {
            let index = self.setup.client(self.number, client);
            let request = self.setup.mix.pick(index, 0);
            self.plan(Work { planned_ns: now, index, step: 0, follow_ups: 0, request, retried: false });
        }
    }

    /// A request becomes due.
    fn plan(&mut self, work: Work) {
        self.ledger.tally.planned += 1;
        self.place(work);
    }

    /// Gives a request to a connection, or lets it wait.
    fn place(&mut self, work: Work) {
        if let Some(slot) = self.take_idle() {
            self.send(slot, work);
        } else if self.slots.len() - self.free.len() < self.slots_max {
            self.dial(work);
        } else if self.backlog.len() < self.backlog_max {
            self.backlog.push_back(work);
        } else {
            self.ledger.tally.shed += 1;
        }
    }

    /// Gives requests that wait to connections that have become free.
    #[inline]
    fn serve_backlog(&mut self) {
        while !self.backlog.is_empty() {
            let has_room = self.slots.len() - self.free.len() < self.slots_max;
            let idle = self.take_idle();
            if idle.is_none() && !has_room {
                return;
            }
            let Some(waiting) = self.backlog.pop_front() else { return };
            match idle {
                Some(slot) => self.send(slot, waiting),
                None => self.dial(waiting),
            }
        }
    }

    fn take_idle(&mut self) -> Option<usize> {
        while let Some((slot, generation)) = self.idle.pop_front() {
            let candidate = &self.slots[slot as usize];
            if candidate.generation == generation && candidate.state == State::Idle {
                return Some(slot as usize);
            }
        }
        None
    }

    fn dial(&mut self, work: Work) {
        self.ledger.tally.sent += 1;
        self.dial_for(work, now_ns());
    }

    /// Dials for a request that was sent, or is, at a moment: a request that is sent again keeps its first one.
    fn dial_for(&mut self, work: Work, sent_ns: u64) {
        let now = now_ns();
        self.outstanding += 1;
        let socket = match self.rotation.next_address() {
            Some(address) => dial(address).map_err(|error| {
                let class = class_of_io(&error, true);
                self.ledger.explain(class, error);
                class
            }),
            None => {
                self.ledger.explain(Class::Dns, "the host's name has no address any more");
                Err(Class::Dns)
            }
        };
        let place = match self.free.pop() {
            Some(place) => place as usize,
            None => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
        };
        let (answers_max, expires_ns) = self.life(now);
        let slot = &mut self.slots[place];
        slot.state = State::Dialing;
        slot.work = work;
        slot.sent_ns = sent_ns;
        (slot.written, slot.answered) = (0, 0);
        (slot.answers_max, slot.expires_ns) = (answers_max, expires_ns);
        slot.reader.forget();
        slot.pod = None;
        match socket {
            Ok(socket) => {
                let token = (slot.generation as u64) << 32 | place as u64;
                let added = self.poll.add(std::os::fd::AsFd::as_fd(&socket), token);
                slot.socket = Some(socket);
                self.ledger.tally.connections.opened += 1;
                self.ledger.tally.connections.open += 1;
                match added {
                    // On loopback the connection often stands already: try at once instead of waiting for the event.
                    Ok(()) => self.write(place),
                    Err(error) => {
                        self.ledger.explain(Class::Local, error);
                        self.fail(place, Class::Local, now)
                    }
                }
            }
            Err(class) => self.fail(place, class, now_ns()),
        }
    }

    /// How many answers and until when a new connection may live.
    fn life(&mut self, now: u64) -> (u32, u64) {
        let policy = &self.setup.load.connections;
        let answers_max = match policy.max_requests {
            Some([fewest, most]) => self.random.between(fewest as u64, most as u64) as u32,
            None => u32::MAX,
        };
        let expires_ns = match policy.max_age {
            Some(age) => {
                let factor = 1.0 + policy.jitter * (2.0 * self.random.unit() - 1.0);
                now + (age.as_ns() as f64 * factor) as u64
            }
            None => u64::MAX,
        };
        (answers_max, expires_ns)
    }

    #[inline]
    fn send(&mut self, place: usize, work: Work) {
        self.outstanding += 1;
        self.ledger.tally.sent += 1;
        let sent_ns = now_ns();
        self.send_at(place, work, sent_ns);
    }

    #[inline]
    fn send_at(&mut self, place: usize, work: Work, sent_ns: u64) {
        let slot = &mut self.slots[place];
        slot.state = State::Busy;
        slot.work = work;
        slot.sent_ns = sent_ns;
        slot.written = 0;
        slot.reader.reset();
        self.write(place);
    }

    #[inline]
    fn write(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let bytes = &self.setup.mix.requests[slot.work.request as usize].bytes;
        match slot.write(bytes) {
            Ok(true) => slot.state = State::Busy,
            Ok(false) if slot.written > 0 => slot.state = State::Busy,
            Ok(false) => {}
            Err(error) => self.lose(place, error),
        }
    }

    #[inline]
    fn on_event(&mut self, event: Ready) {
        let place = (event.token & 0xffff_ffff) as usize;
        if self.slots[place].generation != (event.token >> 32) as u32 {
            return;
        }
        match self.slots[place].state {
            State::Free => {}
            State::Dialing => {
                if event.writable || event.closed {
                    self.write(place);
                }
                if self.slots[place].state == State::Busy && event.closed {
                    self.read(place, true);
                }
            }
            State::Busy => {
                let slot = &self.slots[place];
                let torn = slot.written < self.setup.mix.requests[slot.work.request as usize].bytes.len();
                // An answer that overtakes its request (as 413 does) counts, but its connection carries no other one.
                self.read(place, event.closed || torn);
                if torn && self.slots[place].generation == (event.token >> 32) as u32 {
                    self.write(place);
                }
            }
            State::Idle => self.check_idle(place, event.closed),
        }
    }

    /// An idle connection moved: the server closed it, or said something unasked.
    fn check_idle(&mut self, place: usize, closed: bool) {
        let silent = !closed && matches!(self.slots[place].read(&mut self.buffer), Ok(None));
        if !silent {
            self.close(place);
        }
    }

    /// Reads the answer. Edge-triggered: reads until nothing is left, or a short read says so.
    #[inline]
    fn read(&mut self, place: usize, closed: bool) {
        loop {
            let slot = &mut self.slots[place];
            let count = match slot.read(&mut self.buffer) {
                Ok(None) => return,
                Ok(Some(0)) => return self.on_end(place),
                Ok(Some(count)) => count,
                Err(error) => return self.lose(place, error),
            };
            self.ledger.tally.bytes_received += count as u64;
            let no_body = self.setup.mix.requests[slot.work.request as usize].no_body;
            let (tally, pod) = (&mut self.ledger.tally, &mut slot.pod);
            let mut on_pod = |name: &[u8]| {
                let same = pod.is_some_and(|place| tally.pods[place].name == name);
                if !same {
                    *pod = Some(tally.pod(name));
                }
            };
            match slot.reader.feed(&self.buffer[..count], no_body, self.setup.pod_header.as_bytes(), &mut on_pod) {
                Ok(Progress::Complete { used }) => return self.complete(place, closed || used < count),
                Ok(Progress::Partial) if count < self.buffer.len() && !closed => return,
                Ok(Progress::Partial) => {}
                Err(error) => {
                    self.ledger.explain(Class::Protocol, error.0);
                    return self.fail(place, Class::Protocol, now_ns());
                }
            }
        }
    }

    /// The server closed the connection while an answer was awaited.
    fn on_end(&mut self, place: usize) {
        match self.slots[place].reader.feed_end() {
            true => self.complete(place, true),
            false => {
                self.ledger.explain(Class::Reset, "the server closed the connection before the answer was complete");
                self.lose(place, Errno::CONNRESET)
            }
        }
    }

    /// The whole answer is there.
    #[inline]
    fn complete(&mut self, place: usize, closed: bool) {
        let now = now_ns();
        let slot = &mut self.slots[place];
        slot.answered += 1;
        let Some(head) = slot.reader.head() else { return self.fail(place, Class::Protocol, now) };
        let class = Class::of_status(head.status);
        self.ledger.tally.statuses[head.status as usize % 1000] += 1;
        let (work, pod, sent_ns) = (slot.work, slot.pod, slot.sent_ns);
        let service_us = self.ledger.record(class, work.planned_ns, sent_ns, now);
        if let Some(pod) = pod {
            self.ledger.tally.record_pod(pod, class, service_us);
        }
        let slot = &self.slots[place];
        let spent = closed || !head.keep_alive || slot.answered >= slot.answers_max || now >= slot.expires_ns;
        if self.schedule.is_none() && !spent && now < self.setup.end_ns {
            // The hot path of a closed loop: this answer is the next request's planned moment.
            self.ledger.tally.planned += 1;
            self.ledger.tally.sent += 1;
            return self.send_at(place, self.next_of_client(work, now), now);
        }
        self.outstanding -= 1;
        if spent {
            self.close(place);
        } else {
            self.slots[place].state = State::Idle;
            self.idle.push_back((place as u32, self.slots[place].generation));
        }
        self.go_on(work, now, 0);
    }

    fn next_of_client(&self, work: Work, planned_ns: u64) -> Work {
        let step = work.step.wrapping_add(1);
        Work { planned_ns, step, request: self.setup.mix.pick(work.index, step), retried: false, ..work }
    }

    /// A request is over: its client or session goes on. `pause_ns` is zero after an answer.
    fn go_on(&mut self, work: Work, now: u64, pause_ns: u64) {
        if self.schedule.is_none() {
            let next = self.next_of_client(work, now);
            if pause_ns > 0 {
                self.sleeping.push(Reverse((now + pause_ns, next.index, next.step, 0)));
            } else if now < self.setup.end_ns {
                self.plan(next);
            }
            return;
        }
        if let (Some(sessions), 1..) = (self.setup.load.sessions, work.follow_ups) {
            let mut random = Random::new(self.setup.load.seed ^ work.index, SHARD_STREAM ^ (1 + work.step as u64));
            let think_ns = (sessions.think.as_ns() as f64 * random.exponential()) as u64;
            self.sleeping.push(Reverse((now + think_ns, work.index, work.step + 1, work.follow_ups - 1)));
        }
    }

    /// The connection broke under a request.
    fn lose(&mut self, place: usize, error: Errno) {
        let slot = &self.slots[place];
        let work = slot.work;
        let request = &self.setup.mix.requests[work.request as usize];
        let stale = slot.answered > 0 && !slot.reader.has_begun() && request.idempotent && !work.retried;
        if stale && self.setup.load.connections.retry_stale {
            // The server closed an idle connection while the request was on its way: it was never looked at.
            let sent_ns = slot.sent_ns;
            self.ledger.tally.retried += 1;
            self.outstanding -= 1;
            self.close(place);
            return self.dial_for(Work { retried: true, ..work }, sent_ns);
        }
        let dialing = slot.state == State::Dialing;
        let class = class_of(error, dialing);
        self.ledger.explain(class, std::io::Error::from(error));
        self.fail(place, class, now_ns());
    }

    /// A request failed, and its connection with it.
    fn fail(&mut self, place: usize, class: Class, end_ns: u64) {
        let slot = &self.slots[place];
        let (work, pod, sent_ns) = (slot.work, slot.pod, slot.sent_ns);
        let service_us = self.ledger.record(class, work.planned_ns, sent_ns, end_ns);
        if let (Some(pod), true) = (pod, slot_answering(&self.slots[place])) {
            self.ledger.tally.record_pod(pod, class, service_us);
        }
        self.outstanding -= 1;
        self.close(place);
        let could_not_dial = matches!(class, Class::Refused | Class::Dns | Class::Local);
        self.go_on(work, now_ns(), if could_not_dial { REDIAL_PAUSE_NS } else { FAILURE_PAUSE_NS });
    }

    fn close(&mut self, place: usize) {
        if self.slots[place].socket.is_some() {
            self.ledger.tally.connections.closed += 1;
            self.ledger.tally.connections.open -= 1;
        }
        self.slots[place].close();
        self.free.push(place as u32);
    }

    /// Looks over all connections: requests that take too long, idle connections that are too old, churn.
    fn sweep(&mut self, now: u64) {
        self.sweep_ns = now + self.sweep_every_ns;
        let timeout_ns = self.setup.load.timeout.as_ns();
        let churn = self.setup.load.connections.churn_per_s * self.sweep_every_ns as f64 / 1e9;
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            let churned = churn > 0.0 && slot.state != State::Free && self.random.unit() <= churn;
            match slot.state {
                State::Free => {}
                State::Idle if churned || now >= slot.expires_ns => self.close(place),
                State::Idle => {}
                State::Dialing | State::Busy => {
                    if churned {
                        slot.expires_ns = now;
                    }
                    let due_ns = slot.sent_ns + timeout_ns;
                    if now >= due_ns {
                        let missing = if slot.state == State::Dialing { "connection" } else { "complete answer" };
                        let why = format_args!("no {missing} within {}", self.setup.load.timeout);
                        self.ledger.explain(Class::Timeout, why);
                        self.fail(place, Class::Timeout, due_ns);
                    }
                }
            }
        }
    }
}

fn slot_answering(slot: &Slot) -> bool {
    slot.reader.has_begun() || slot.answered > 0
}
