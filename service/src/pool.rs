//! A fixed number of worker threads and a bounded queue before them.
//!
//! A submission is refused when every worker is busy and the queue is full. Dropping a `Pending` takes the work back:
//! out of the queue when it waits there, or stopped at its next stride when it runs. So a client that has gone costs
//! nothing more, and its place in the queue is free at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::work::Work;

pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: usize,
    queue: usize,
}

/// The queue was full.
#[derive(Debug, PartialEq)]
pub(crate) struct Full;

/// Work that was taken in and not yet answered.
pub(crate) struct Pending {
    ticket: u64,
    answer: oneshot::Receiver<String>,
    shared: Arc<Shared>,
}

struct Shared {
    line: Mutex<Line>,
    arrived: Condvar,
}

/// Who waits, in order of arrival. Keyed by ticket, so that one who leaves is found without a search.
#[derive(Default)]
struct Line {
    waiting: BTreeMap<u64, Job>,
    next_ticket: u64,
    busy: usize,
}

struct Job {
    work: Work,
    answer: oneshot::Sender<String>,
}

impl Pool {
    pub(crate) fn start(workers: usize, queue: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared { line: Mutex::default(), arrived: Condvar::new() });
        for index in 0..workers {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || shared.work_for_ever())?;
        }
        Ok(Pool { shared, workers, queue })
    }

    pub(crate) fn submit(&self, work: Work) -> Result<Pending, Full> {
        let (sender, answer) = oneshot::channel();
        let mut line = self.shared.line();
        let idle = self.workers - line.busy;
        if line.waiting.len() >= self.queue + idle {
            return Err(Full);
        }
        let ticket = line.next_ticket;
        line.next_ticket += 1;
        line.waiting.insert(ticket, Job { work, answer: sender });
        drop(line);
        self.shared.arrived.notify_one();
        Ok(Pending { ticket, answer, shared: self.shared.clone() })
    }

    /// How many wait, not counting those for whom a worker is already free.
    pub(crate) fn depth(&self) -> usize {
        let line = self.shared.line();
        line.waiting.len().saturating_sub(self.workers - line.busy)
    }

    pub(crate) fn busy(&self) -> usize {
        self.shared.line().busy
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    pub(crate) fn queue(&self) -> usize {
        self.queue
    }
}

impl Pending {
    /// The answer; `None` only if the worker died, which would be a defect.
    pub(crate) async fn answer(mut self) -> Option<String> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.line().waiting.remove(&self.ticket);
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing under the lock panics, and the line is consistent after each statement.
        self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn work_for_ever(&self) {
        let mut line = self.line();
        loop {
            let Some((_, job)) = line.waiting.pop_first() else {
                line = self.arrived.wait(line).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            };
            line.busy += 1;
            drop(line);
            if let Some(answer) = job.work.run(|| job.answer.is_closed()) {
                // The client may have gone in the last stride; then nobody wants the answer.
                let _ = job.answer.send(answer);
            }
            line = self.line();
            line.busy -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const LONG: Work = Work::Burn { millis: 10_000 };
    const SHORT: Work = Work::Hash { iterations: 1 };

    #[track_caller]
    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "never saw: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_full_queue_refuses_and_room_made_is_used() {
        let pool = Pool::start(1, 2).unwrap();
        let running = pool.submit(LONG).unwrap();
        wait_until("the worker took the work", || pool.busy() == 1);
        let waiting = (pool.submit(SHORT).unwrap(), pool.submit(SHORT).unwrap());
        assert_eq!(pool.depth(), 2);
        assert_eq!(pool.submit(SHORT).err(), Some(Full));
        drop(waiting.0);
        assert_eq!(pool.depth(), 1, "the one who left makes room at once");
        let third = pool.submit(SHORT).unwrap();
        drop(running);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(third.answer()).is_some());
    }

    #[test]
    fn no_queue_at_all_still_serves_an_idle_worker() {
        let pool = Pool::start(1, 0).unwrap();
        let first = pool.submit(LONG).unwrap();
        wait_until("the worker took the work", || pool.busy() == 1);
        assert_eq!(pool.submit(SHORT).err(), Some(Full));
        drop(first);
        wait_until("the abandoned work stopped", || pool.busy() == 0);
        assert!(pool.submit(SHORT).is_ok());
    }
}
