//! Several fronts on one listener, as in several processes: who takes the next connection.

mod support;

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fairlead_front::{FrontSettings, Listener, Scoreboard};
use support::{Stage, GET, PATIENCE};

const ABSENT: u64 = u64::MAX;

/// The listener and the scoreboard that all fronts of a test share.
struct Shared {
    listener: TcpListener,
    scoreboard: File,
    clients: Vec<TcpStream>,
}

impl Shared {
    /// `cells` are what stands in the scoreboard at first.
    fn new(cells: &[u64]) -> Shared {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fairlead-scoreboard-{}-{number}", std::process::id()));
        let scoreboard = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file");
        std::fs::remove_file(path).expect("it was just made");
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_le_bytes()).collect();
        scoreboard.write_all_at(&bytes, 0).expect("room on the disk");
        // Bound by us: the standard library's queue of 128 would let clients wait a second in a storm.
        let Ok(Listener::Tcp(listener)) = Listener::bind("127.0.0.1:0") else {
            panic!("no free port");
        };
        Shared {
            listener,
            scoreboard,
            clients: Vec::new(),
        }
    }

    /// A front of its own, as another process would have it.
    fn front(&self, cell: u32) -> Stage {
        let settings = FrontSettings {
            scoreboard: Some(Scoreboard::new(
                self.scoreboard.try_clone().expect("a descriptor").into(),
                cell,
            )),
            shutdown_grace: Duration::ZERO,
            ..support::front_settings()
        };
        let listener = Listener::Tcp(self.listener.try_clone().expect("a descriptor"));
        let stage = Stage::on(listener, settings, true);
        self.wait_for(cell, 0);
        stage
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket")
    }

    fn cell(&self, cell: u32) -> u64 {
        let mut bytes = [0; 8];
        self.scoreboard
            .read_exact_at(&mut bytes, u64::from(cell) * 8)
            .expect("a cell");
        u64::from_le_bytes(bytes)
    }

    fn wait_for(&self, cell: u32, value: u64) {
        let end = Instant::now() + PATIENCE;
        while self.cell(cell) != value {
            assert!(Instant::now() < end, "{} instead of {value}", self.cell(cell));
            std::thread::yield_now();
        }
    }

    /// Opens `count` connections, each when the one before it has been accepted.
    fn connect_in_turn(&mut self, count: u64, fronts: &[&Stage]) {
        for _ in 0..count {
            let before = total(fronts);
            self.clients
                .push(TcpStream::connect(self.address()).expect("a listener"));
            let end = Instant::now() + PATIENCE;
            while total(fronts) == before {
                assert!(Instant::now() < end, "nobody accepts");
                std::thread::yield_now();
            }
        }
    }

    fn connect_at_once(&mut self, count: u64, fronts: &[&Stage]) {
        let goal = total(fronts) + count;
        for _ in 0..count {
            self.clients
                .push(TcpStream::connect(self.address()).expect("a listener"));
        }
        let end = Instant::now() + PATIENCE;
        while total(fronts) < goal {
            assert!(Instant::now() < end, "{} of {goal} accepted", total(fronts));
            std::thread::yield_now();
        }
    }
}

fn accepted(front: &Stage) -> u64 {
    front.front.statistics().accepted
}

fn total(fronts: &[&Stage]) -> u64 {
    fronts.iter().map(|front| accepted(front)).sum()
}

fn assert_even(fronts: &[&Stage]) {
    let shares: Vec<u64> = fronts.iter().map(|front| accepted(front)).collect();
    let mean = shares.iter().sum::<u64>() / shares.len() as u64;
    assert!(
        shares.iter().all(|share| share.abs_diff(mean) <= mean / 5),
        "{shares:?}"
    );
}

#[test]
fn connections_that_come_one_by_one_spread_evenly() {
    let mut shared = Shared::new(&[ABSENT; 2]);
    let (one, other) = (shared.front(0), shared.front(1));
    shared.connect_in_turn(100, &[&one, &other]);
    assert_even(&[&one, &other]);
}

#[test]
fn connections_that_come_at_once_spread_evenly() {
    let mut shared = Shared::new(&[ABSENT; 3]);
    let fronts = [shared.front(0), shared.front(1), shared.front(2)];
    let fronts: Vec<&Stage> = fronts.iter().collect();
    shared.connect_at_once(300, &fronts);
    assert_even(&fronts);
}

#[test]
fn a_newcomer_gets_what_comes_until_it_has_as_many() {
    let mut shared = Shared::new(&[ABSENT; 2]);
    let old = shared.front(0);
    shared.connect_in_turn(40, &[&old]);
    let new = shared.front(1);
    shared.connect_in_turn(40, &[&old, &new]);
    assert!(accepted(&new) >= 32, "{} of 40", accepted(&new));
    shared.connect_in_turn(40, &[&old, &new]);
    assert_even(&[&old, &new]);
}

#[test]
fn a_process_that_never_comes_does_not_keep_connections_waiting() {
    // Stopped or hung with no connection at all: it looks like the best place for each.
    let mut shared = Shared::new(&[0, ABSENT]);
    let front = shared.front(1);
    let began = Instant::now();
    shared.connect_in_turn(50, &[&front]);
    shared.connect_at_once(500, &[&front]);
    // A pause of some 5 ms for each of the first 50, and a few more; 550 of them would take three seconds.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn the_dead_and_the_full_keep_nobody_from_accepting() {
    let mut shared = Shared::new(&[ABSENT; 9]);
    let front = shared.front(8);
    let began = Instant::now();
    shared.connect_in_turn(500, &[&front]);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(shared.cell(3), ABSENT);
}

#[test]
fn a_process_whose_application_is_held_up_gives_way_to_any_other() {
    let mut shared = Shared::new(&[ABSENT; 2]);
    let busy = shared.front(0);
    shared.connect_in_turn(50, &[&busy]);
    let quiet = shared.front(1);
    shared.connect_in_turn(50, &[&busy, &quiet]);
    quiet.held_up.store(true, Ordering::SeqCst);
    let before = accepted(&quiet);
    shared.connect_in_turn(20, &[&busy, &quiet]);
    // The first may still meet what stood in the scoreboard before.
    assert!(
        accepted(&quiet) <= before + 2,
        "{} of 20 went to the one that is held up",
        accepted(&quiet) - before
    );
    // Where all are held up they share again.
    busy.held_up.store(true, Ordering::SeqCst);
    shared.connect_in_turn(40, &[&busy, &quiet]);
    assert_even(&[&busy, &quiet]);
}

#[test]
fn the_scoreboard_tells_connections_and_whether_more_are_wanted() {
    let mut shared = Shared::new(&[ABSENT; 3]);
    let front = shared.front(2);
    shared.connect_in_turn(3, &[&front]);
    shared.wait_for(2, 3);
    shared.clients.pop();
    shared.wait_for(2, 2);
    front.room.store(false, Ordering::SeqCst);
    let mut late = front.client_sending(GET);
    shared.wait_for(2, ABSENT);
    front.room.store(true, Ordering::SeqCst);
    front.front.room_available();
    let exchange = front.exchange();
    shared.wait_for(2, 3);
    front.held_up.store(true, Ordering::SeqCst);
    exchange
        .respond(support::head(200, &[]), "late")
        .expect("a client");
    assert_eq!(late.reply().body, b"late");
    shared.wait_for(2, (1 << 63) + 3);
    front.front.stop_accepting();
    shared.wait_for(2, ABSENT);
    assert_eq!(
        (shared.cell(0), shared.cell(1)),
        (ABSENT, ABSENT),
        "others' cells"
    );
}
