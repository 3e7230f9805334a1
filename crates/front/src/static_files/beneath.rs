//! Files beneath a folder: opened so that what is opened lies in it, whatever others do with links meanwhile.
//!
//! The kernel keeps the way inside (openat2(2), `RESOLVE_BENEATH`). A link that leads inside by an absolute path is no way
//! for it; then, and where the kernel or a filter of system calls does not know openat2, the real path is asked for, and
//! walked from the folder without following a link, so that one which is put there in between leads nowhere.

use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens what `name` names in a folder, given by its real path: a file to be read, or a folder.
pub(super) fn open_beneath(folder: &Path, name: &Path) -> Option<(File, Metadata)> {
    let root = open(rustix::fs::CWD, folder, OFlags::PATH | OFlags::DIRECTORY).ok()?;
    let name = if name.as_os_str().is_empty() {
        Path::new(".")
    } else {
        name
    };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, name, FILE, Mode::empty(), how) {
        Ok(file) => told(file),
        // EXDEV: it leads out, or in by an absolute link. EAGAIN: somebody renames here.
        Err(Errno::XDEV | Errno::AGAIN | Errno::NOSYS | Errno::PERM) => walk(root, folder, name),
        Err(_) => None,
    }
}

/// Opens a file, given by its real path.
pub(super) fn open_file(file: &Path) -> Option<(File, Metadata)> {
    told(open(rustix::fs::CWD, file, FILE | OFlags::NOFOLLOW).ok()?)
}

/// A FIFO would hold us up.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The same by the real path, one name after the other.
fn walk(root: OwnedFd, folder: &Path, name: &Path) -> Option<(File, Metadata)> {
    let real = folder.join(name).canonicalize().ok()?;
    let mut names = real.strip_prefix(folder).ok()?.components().peekable();
    let mut at = root;
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return None;
        };
        let flags = if names.peek().is_some() {
            OFlags::PATH | OFlags::DIRECTORY
        } else {
            FILE
        };
        at = open(&at, Path::new(name), flags | OFlags::NOFOLLOW).ok()?;
    }
    told(at)
}

fn open(at: impl std::os::fd::AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, flags | OFlags::CLOEXEC, Mode::empty())
}

fn told(file: OwnedFd) -> Option<(File, Metadata)> {
    let file = File::from(file);
    let about = file.metadata().ok()?;
    Some((file, about))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A folder `site` with a file, beside a file that nobody may have.
    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("fairlead-{}-{name}", std::process::id()));
        fs::create_dir_all(place.join("site/sub")).expect("a folder");
        let place = place.canonicalize().expect("a folder");
        fs::write(place.join("secret"), "secret").expect("a file");
        fs::write(place.join("site/sub/page"), "page").expect("a file");
        place
    }

    fn text(found: Option<(File, Metadata)>) -> Option<String> {
        let mut text = String::new();
        found?.0.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn links_lead_where_they_like_as_long_as_it_is_inside() {
        let place = place("links");
        let site = place.join("site");
        symlink("sub/page", site.join("near")).expect("a link");
        symlink(site.join("sub/page"), site.join("absolute")).expect("a link");
        symlink("../site/sub", site.join("round")).expect("a link");
        symlink("../secret", site.join("out")).expect("a link");
        symlink(&place, site.join("far")).expect("a link");
        symlink("/proc/self/root", site.join("magic")).expect("a link");
        for walks in [false, true] {
            let open = |name: &str| {
                let root =
                    || open(rustix::fs::CWD, &site, OFlags::PATH | OFlags::DIRECTORY).expect("a folder");
                text(if walks {
                    walk(root(), &site, Path::new(name))
                } else {
                    open_beneath(&site, Path::new(name))
                })
            };
            for name in ["sub/page", "near", "absolute", "round/page"] {
                assert_eq!(open(name).as_deref(), Some("page"), "{name}");
            }
            for name in ["out", "far/secret", "magic/etc/hostname", "nothing", "../secret"] {
                assert_eq!(open(name), None, "{name}");
            }
        }
        assert!(open_beneath(&site, Path::new("")).is_some_and(|(_, about)| about.is_dir()));
        fs::remove_dir_all(place).expect("the end");
    }

    #[test]
    fn who_swaps_links_while_files_are_opened_gets_nothing_from_outside() {
        let place = place("race");
        let site = place.join("site");
        fs::create_dir(place.join("outside")).expect("a folder");
        fs::write(place.join("outside/page"), "secret").expect("a file");
        let (folder, link) = (site.join("swapped"), site.join("swapped.new"));
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    for target in ["sub", "../outside"] {
                        let _ = symlink(target, &link);
                        let _ = fs::rename(&link, &folder);
                    }
                }
            });
            for _ in 0..3_000 {
                let name = Path::new("swapped/page");
                let root = open(rustix::fs::CWD, &site, OFlags::PATH | OFlags::DIRECTORY).expect("a folder");
                assert_ne!(text(open_beneath(&site, name)).as_deref(), Some("secret"));
                assert_ne!(text(walk(root, &site, name)).as_deref(), Some("secret"));
            }
            ends.store(true, Ordering::Relaxed);
        });
        fs::remove_dir_all(place).expect("the end");
    }
}
