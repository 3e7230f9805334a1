//! Real processes on one region: writers are killed with -9 wherever they are, and all the others go on.
//!
//! The test program starts itself again for each role; `FAIRLEAD_STRESS_SECONDS` says for how long (CI: a minute).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_channel::{Channels, Cursor, Kind, Next, Place, SMALLEST_REGION};

/// An append takes a microsecond; this is for a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

const ROLE: &str = "FAIRLEAD_TEST_ROLE";
const REGION: &str = "FAIRLEAD_TEST_REGION";

/// Removed when the test ends, in whatever way.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("fairlead-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn region(&self) -> PathBuf {
        self.0.join("region")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed when the test ends, in whatever way.
struct Actor(Child);

impl Actor {
    fn start(role: &str, region: &Path) -> Actor {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_actor_of_the_other_tests", "--nocapture"])
            .env(ROLE, role)
            .env(REGION, region)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Actor(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open(region: &Path) -> Arc<Channels> {
    Arc::new(Channels::in_file(region, SMALLEST_REGION, usize::MAX).unwrap())
}

/// A payload whose bytes all follow from its first: torn, it would show.
fn payload(number: u64) -> Vec<u8> {
    let length = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize * 8;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|at| (number as usize + at) as u8));
    bytes
}

fn is_whole(bytes: &[u8]) -> bool {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes == payload(number)
}

/// Not a test of its own: what the processes that the others start do.
#[test]
fn an_actor_of_the_other_tests() {
    let (Ok(role), Ok(region)) = (std::env::var(ROLE), std::env::var(REGION)) else {
        return;
    };
    let channels = open(Path::new(&region));
    match role.as_str() {
        "writer" => {
            for number in 0.. {
                // Names that come and go, so that the directory changes all the time as well.
                let name = match number % 4 {
                    0 => format!("passing {}", number % 500),
                    other => format!("busy {other}"),
                };
                channels.publish(&name, Kind::Binary, &payload(number)).unwrap();
            }
        }
        "member" => loop {
            let place = Place::claim(Arc::clone(&channels)).unwrap();
            for number in 0..20 {
                let joined = place.join(&format!("busy {}", number % 4), PATIENCE).unwrap();
                if number % 3 == 0 {
                    place.leave(joined.id);
                }
            }
        },
        "resident" => {
            let place = Place::claim(Arc::clone(&channels)).unwrap();
            place.join("room", PATIENCE).unwrap();
            loop {
                std::thread::park();
            }
        }
        other => panic!("no role {other:?}"),
    }
}

/// Reads everything new, and checks that each channel's messages are whole and in order. Answers how many there were.
fn read_and_check(place: &Place, cursor: &mut Cursor, last: &mut HashMap<usize, u64>) -> u64 {
    let mut count = 0;
    let mut bytes = Vec::new();
    loop {
        match place.next(cursor) {
            Next::Nothing => return count,
            Next::Overtaken => {}
            Next::Record(record) => {
                bytes.clear();
                if !place.payload(&record, &mut bytes) {
                    continue;
                }
                assert!(is_whole(&bytes), "a torn message at {}", record.position);
                let before = last.insert(record.channel_index(), record.offset);
                assert!(
                    before.is_none_or(|before| before < record.offset),
                    "{record:?} after {before:?}"
                );
                count += 1;
                if count == 100 {
                    return count; // its writers may be quicker than we are
                }
            }
        }
    }
}

fn stress_for() -> Duration {
    let seconds = std::env::var("FAIRLEAD_STRESS_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(3))
}

#[test]
fn writers_are_killed_and_the_others_go_on() {
    let folder = Folder::new("stress");
    let region = folder.region();
    let channels = open(&region);
    let place = Place::claim(Arc::clone(&channels)).unwrap();
    let mut cursor = place.cursor();
    let mut last = HashMap::new();
    let (mut read, mut kills, mut own) = (0, 0, 0u64);
    let until = Instant::now() + stress_for();
    let mut actors = [
        Actor::start("writer", &region),
        Actor::start("writer", &region),
        Actor::start("member", &region),
    ];
    while Instant::now() < until {
        let victim = kills % actors.len();
        // Long enough for it to start and get going, and never the same point of what it does.
        let moment = Instant::now() + Duration::from_micros(20_000 + (kills as u64 * 7919) % 20_000);
        while Instant::now() < moment {
            read += read_and_check(&place, &mut cursor, &mut last);
        }
        actors[victim].kill();
        kills += 1;
        // Nobody is held up by the dead one, and the numbers go on.
        let before = channels.history("own", None, 1).unwrap();
        let offset = channels.publish("own", Kind::Binary, &payload(own)).unwrap();
        own += 1;
        if let Some((record, bytes)) = before.first() {
            assert_eq!(offset, record.offset + 1);
            assert!(is_whole(bytes));
        }
        channels.forget_dead(PATIENCE).unwrap();
        let busy = |name: &str| name.starts_with("busy") || kills.is_multiple_of(10);
        for facts in channels.list().into_iter().filter(|facts| busy(&facts.name)) {
            let history = channels.history(&facts.name, None, 50).unwrap();
            assert!(history
                .windows(2)
                .all(|two| two[0].0.offset + 1 == two[1].0.offset));
            assert!(history.iter().all(|(_, bytes)| is_whole(bytes)));
        }
        actors[victim] = Actor::start(if victim == 2 { "member" } else { "writer" }, &region);
    }
    for actor in &mut actors {
        actor.kill();
    }
    channels.forget_dead(PATIENCE).unwrap();
    let members: u64 = channels.list().iter().map(|facts| facts.members).sum();
    assert_eq!(members, 0, "members of dead processes are forgotten");
    assert_eq!(channels.workers().len(), 1);
    assert!(
        read > 1000 && kills > 10,
        "read {read} messages, killed {kills} times"
    );
}

#[test]
fn a_place_is_free_when_its_process_has_died() {
    let folder = Folder::new("places");
    let region = folder.region();
    let channels = open(&region);
    let mut actor = Actor::start("resident", &region);
    while channels.members("room").unwrap() == 0 {
        assert!(actor.0.try_wait().unwrap().is_none(), "the actor has ended");
        std::thread::yield_now();
    }
    assert_eq!(channels.workers()[0].process, u64::from(actor.0.id()));
    actor.kill();
    // A new one comes, and needs nobody to have noticed.
    let place = Place::claim(Arc::clone(&channels)).unwrap();
    let processes: Vec<u64> = channels.workers().iter().map(|facts| facts.process).collect();
    assert_eq!(processes, [u64::from(std::process::id())]);
    assert_eq!(channels.members("room").unwrap(), 0);
    drop(place);
}
