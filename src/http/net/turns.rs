//! Turns of streamed bodies. A socket with space for megabytes would take all of a file in memory in one poll, and the
//! tasks of 200 such clients in the queue of the runtime would delay everybody else. A stream therefore gives way after
//! [`TURN_BYTES`]; if there are many long ones, they wait outside of that queue, and a few at a time continue, in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// Number of bytes of a turn.
pub(super) const TURN_BYTES: usize = 256 << 10;
/// Number of bytes of a body that never waits: it ends after a few turns.
const SHORT: u64 = 1 << 20;
/// Up to this number of streams, none waits for another.
const FREE_STREAMS: usize = 8;
/// Number of turns between two polls of the sockets.
const TURNS_AT_ONCE: usize = 4;

static GATE: LazyLock<Arc<Gate>> = LazyLock::new(Arc::default);

#[derive(Default)]
struct Gate {
    streams: AtomicUsize,
    queue: Mutex<Queue>,
}

impl Gate {
    /// Adds a stream to those that wait.
    fn enter(gate: &Arc<Gate>) -> Arc<WaitingStream> {
        let stream = Arc::<WaitingStream>::default();
        let mut queue = gate.queue.lock();
        queue.waiting.push_back(Arc::clone(&stream));
        if !std::mem::replace(&mut queue.is_giving, true) {
            tokio::spawn(give_turns(Arc::clone(gate)));
        }
        stream
    }
}

#[derive(Default)]
struct Queue {
    /// Those of streams that ended while they waited are left: their turns are short.
    waiting: VecDeque<Arc<WaitingStream>>,
    /// Whether a task runs [`give_turns`].
    is_giving: bool,
}

#[derive(Default)]
struct WaitingStream {
    is_called: AtomicBool,
    waker: AtomicWaker,
}

impl WaitingStream {
    fn call(&self) {
        self.is_called.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// The turns of one stream.
pub(super) struct Turns {
    /// Absent for a short one.
    gate: Option<Arc<Gate>>,
    /// Present while it waits.
    waiting: Option<Arc<WaitingStream>>,
    /// Bytes sent in this turn.
    sent: usize,
}

impl Turns {
    /// `size` is that of the body, in bytes, if it is known.
    pub(super) fn new(size: Option<u64>) -> Turns {
        match size {
            Some(..=SHORT) => Turns { gate: None, waiting: None, sent: 0 },
            _ => Turns::at(&GATE),
        }
    }

    fn at(gate: &Arc<Gate>) -> Turns {
        let is_free = gate.streams.fetch_add(1, Ordering::Relaxed) < FREE_STREAMS;
        let sent = if is_free { 0 } else { TURN_BYTES };
        Turns { gate: Some(Arc::clone(gate)), waiting: None, sent }
    }

    /// Waits for the next turn if this one has ended.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sent < TURN_BYTES {
            return Poll::Ready(());
        }
        let is_free = |gate: &&Arc<Gate>| gate.streams.load(Ordering::Relaxed) <= FREE_STREAMS;
        let stream: &Arc<WaitingStream> =
            match (&self.waiting, self.gate.as_ref().filter(|gate| !is_free(gate))) {
                (Some(stream), _) => stream,
                (None, Some(gate)) => self.waiting.insert(Gate::enter(gate)),
                (None, None) => {
                    self.sent = 0;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
        stream.waker.register(context.waker());
        if !stream.is_called.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        (self.waiting, self.sent) = (None, 0);
        Poll::Ready(())
    }

    pub(super) fn count(&mut self, bytes: usize) {
        self.sent += bytes;
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The giving of turns. If the runtime ends before it is over, all streams that wait continue.
struct Giving<'a> {
    gate: &'a Gate,
    is_over: bool,
}

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut queue = self.gate.queue.lock();
            queue.is_giving = false;
            queue.waiting.drain(..).for_each(|stream| stream.call());
        }
    }
}

/// Gives turns until no stream waits. The runtime polls the sockets each time that this yields.
async fn give_turns(gate: Arc<Gate>) {
    let mut giving = Giving { gate: &gate, is_over: false };
    loop {
        let called: Vec<Arc<WaitingStream>> = {
            let mut queue = gate.queue.lock();
            if queue.waiting.is_empty() {
                // In the same lock: a stream that waits from now on starts another task.
                queue.is_giving = false;
                giving.is_over = true;
                return;
            }
            let count = queue.waiting.len().min(TURNS_AT_ONCE);
            queue.waiting.drain(..count).collect()
        };
        called.iter().for_each(|stream| stream.call());
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Each stream takes five turns. Returns the streams in the order of their turns.
    async fn order(gate: &Arc<Gate>, streams: usize) -> Vec<usize> {
        let order = Arc::new(Mutex::new(Vec::new()));
        let turns: Vec<_> = (0..streams).map(|_| Turns::at(gate)).collect();
        let tasks: Vec<_> = turns
            .into_iter()
            .enumerate()
            .map(|(number, mut turns)| {
                let order = Arc::clone(&order);
                tokio::spawn(async move {
                    for _ in 0..5 {
                        std::future::poll_fn(|context| turns.poll(context)).await;
                        order.lock().expect("not poisoned").push(number);
                        turns.count(TURN_BYTES);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        Arc::try_unwrap(order).expect("the tasks have ended").into_inner().expect("not poisoned")
    }

    #[tokio::test]
    async fn streams_take_turns_in_order_and_other_tasks_run_between_them() {
        let gate = Arc::new(Gate::default());
        let streams = Arc::clone(&gate);
        let others = tokio::spawn(async move {
            let mut count = 0;
            while streams.streams.load(Ordering::Relaxed) > 0 {
                count += 1;
                tokio::task::yield_now().await;
            }
            count
        });
        let order = order(&gate, 100).await;
        assert_eq!(order.len(), 500);
        // The first ones are free; the others wait before their first turn.
        let waiting: Vec<_> = order.iter().filter(|number| **number >= FREE_STREAMS).take(92).collect();
        assert!(waiting.is_sorted(), "{waiting:?}");
        let rounds = others.await.expect("no panic");
        assert!(rounds >= 400 / TURNS_AT_ONCE, "other tasks ran {rounds} times");
        assert!(gate.queue.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_stream_that_ends_while_it_waits_does_not_delay_the_others() {
        let gate = Arc::new(Gate::default());
        let mut waiting: Vec<_> = (0..FREE_STREAMS + 20).map(|_| Turns::at(&gate)).collect();
        for turns in &mut waiting {
            turns.count(TURN_BYTES);
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(turns.poll(&mut context).is_pending());
        }
        let mut last = waiting.pop().expect("one");
        waiting.truncate(FREE_STREAMS);
        std::future::poll_fn(|context| last.poll(context)).await;
    }
}
