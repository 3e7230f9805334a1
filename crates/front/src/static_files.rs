//! Static files: a path under a mapped prefix that names a file is served from it, before the app is asked.
//!
//! As in uWSGI a request that finds no file goes on to the app. The path is looked at in its normal form, which is the one
//! that rules judge. A file is served only if it lies in the folder ([`beneath`]): neither dots nor symbolic links lead out.
//! GET and HEAD, validators (RFC 9110 §8.8), conditions (§13.1) and one range (§14.2); several ranges are answered with the
//! whole file, as the RFC allows. Pure but for looking at files: what answers is a head and a part of a file, which the
//! pipeline sends.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fairlead_http::{normal_path, Request, ResponseHead};

mod beneath;

use beneath::{open_beneath, open_file};

/// Folders that are served, and how.
#[derive(Clone, Debug, Default)]
pub struct StaticFiles {
    maps: Vec<Map>,
    index: Vec<String>,
    types: HashMap<String, String>,
}

#[derive(Clone, Debug)]
struct Map {
    /// In normal form, without a slash at its end.
    prefix: Vec<u8>,
    /// The real path of a folder, or of the one file that is served.
    place: PathBuf,
    is_folder: bool,
}

/// A file that is there.
pub(crate) struct Found<'a> {
    file: File,
    about: Metadata,
    media_type: &'a str,
}

/// The answer that a file gives.
pub(crate) struct FileResponse {
    pub(crate) head: ResponseHead,
    /// The file, the first byte and the number of bytes that follow the head; `None`: the head is all.
    pub(crate) body: Option<(File, u64, u64)>,
}

impl Found<'_> {
    /// `None` only if a head of ours were not valid.
    pub(crate) fn response(self, request: &Request) -> Option<FileResponse> {
        response(request, self.file, &self.about, self.media_type)
    }
}

impl StaticFiles {
    /// `maps`: pairs of a path's prefix and a folder, or of a path and the file that it names; `index`: names of the file
    /// that stands for a folder, none by default; `types`: media types by the ending of a name, which includes its dot.
    ///
    /// # Errors
    /// One sentence about a place where there is neither a folder nor a file.
    pub fn new(
        maps: &[(String, String)],
        index: Vec<String>,
        types: HashMap<String, String>,
    ) -> Result<StaticFiles, String> {
        let maps = maps
            .iter()
            .map(|(prefix, place)| {
                let is_there = Path::new(place)
                    .canonicalize()
                    .and_then(|real| Ok((real.metadata()?, real)));
                let mut normal = normal_path(prefix.as_bytes()).into_owned();
                while normal.ends_with(b"/") {
                    normal.pop();
                }
                match is_there {
                    Ok((about, real)) if about.is_dir() || about.is_file() => Ok(Map {
                        prefix: normal,
                        place: real,
                        is_folder: about.is_dir(),
                    }),
                    Ok(_) => Err(format!(
                        "--static-map {prefix}={place}: this is neither a folder nor a file; name one."
                    )),
                    Err(error) => Err(format!(
                        "--static-map {prefix}={place}: it cannot be read: {error}."
                    )),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(StaticFiles { maps, index, types })
    }

    /// A request may be for a file.
    pub(crate) fn are_any(&self) -> bool {
        !self.maps.is_empty()
    }

    /// The file that answers the request. `None`: the app has to.
    pub(crate) fn look_up(&self, request: &Request) -> Option<Found<'_>> {
        if self.maps.is_empty() || request.method() != b"HEAD" && request.method() != b"GET" {
            return None;
        }
        let path = request.path_info();
        let (file, about, name) = self.find(&normal_path(&path))?;
        Some(Found {
            file,
            about,
            media_type: self.media_type(&name),
        })
    }

    /// The file that a path in normal form names, and its name.
    fn find(&self, path: &[u8]) -> Option<(File, Metadata, PathBuf)> {
        if path.contains(&0) {
            return None;
        }
        self.maps.iter().find_map(|map| {
            let rest = path.strip_prefix(map.prefix.as_slice())?;
            if !map.is_folder {
                let (file, about) =
                    open_file(&map.place).filter(|(_, about)| rest.is_empty() && about.is_file())?;
                return Some((file, about, map.place.clone()));
            }
            if !rest.is_empty() && !rest.starts_with(b"/") {
                return None;
            }
            let is_folder_s = rest.ends_with(b"/");
            let name = Path::new(std::ffi::OsStr::from_bytes(
                rest.strip_prefix(b"/").unwrap_or(rest),
            ));
            let (file, about) = open_beneath(&map.place, name)?;
            if about.is_file() && !is_folder_s {
                return Some((file, about, name.to_owned()));
            }
            if !about.is_dir() {
                return None;
            }
            self.index.iter().find_map(|index| {
                let name = name.join(index);
                let (file, about) = open_beneath(&map.place, &name)?;
                about.is_file().then_some((file, about, name))
            })
        })
    }

    fn media_type(&self, path: &Path) -> &str {
        let ending = path
            .extension()
            .map(|ending| format!(".{}", ending.to_string_lossy().to_lowercase()));
        ending
            .and_then(|ending| self.types.get(&ending))
            .map_or("application/octet-stream", String::as_str)
    }
}

fn response(request: &Request, file: File, about: &Metadata, media_type: &str) -> Option<FileResponse> {
    let size = about.len();
    let modified = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let last_modified = httpdate::fmt_http_date(modified);
    let etag = format!(
        "\"{:x}-{:x}-{:x}\"",
        about.ino(),
        size,
        about.mtime() * 1_000_000_000 + about.mtime_nsec()
    );
    let mut headers = vec![
        ("Last-Modified".to_owned(), last_modified.clone().into_bytes()),
        ("ETag".to_owned(), etag.clone().into_bytes()),
        ("Accept-Ranges".to_owned(), b"bytes".to_vec()),
    ];
    // RFC 9110 §13.2.2, in this order.
    if !is_as_wanted(request, &etag, modified) {
        return bodiless(412, headers);
    }
    if is_unchanged(request, &etag, modified) {
        return bodiless(304, headers);
    }
    let is_head = request.method() == b"HEAD";
    let range = if is_head {
        // §14.2: a range is of a GET.
        Range::Whole
    } else {
        wanted_range(request, size, &etag, &last_modified)
    };
    let (status, first, length) = match range {
        Range::Whole => (200, 0, size),
        Range::Part { first, length } => {
            let text = format!("bytes {first}-{}/{size}", first + length - 1);
            headers.push(("Content-Range".to_owned(), text.into_bytes()));
            (206, first, length)
        }
        Range::Impossible => {
            headers.push(("Content-Range".to_owned(), format!("bytes */{size}").into_bytes()));
            return bodiless(416, headers);
        }
    };
    headers.push(("Content-Type".to_owned(), media_type.as_bytes().to_vec()));
    headers.push(("Content-Length".to_owned(), length.to_string().into_bytes()));
    let head = ResponseHead::new(status, headers).ok()?;
    let body = (!is_head).then_some((file, first, length));
    Some(FileResponse { head, body })
}

fn bodiless(status: u16, headers: Vec<(String, Vec<u8>)>) -> Option<FileResponse> {
    let head = ResponseHead::new(status, headers).ok()?;
    Some(FileResponse { head, body: None })
}

/// RFC 9110 §13.1.1 and §13.1.4: the client wants the file only as it knows it. If-Match comes first and then
/// If-Unmodified-Since does not count; a weak tag is nobody's.
fn is_as_wanted(request: &Request, etag: &str, modified: SystemTime) -> bool {
    if request.header("if-match").is_some() {
        return request
            .list("if-match")
            .any(|tag| tag == b"*" || tag == etag.as_bytes());
    }
    date(request, "if-unmodified-since").is_none_or(|since| seconds(modified) <= seconds(since))
}

/// RFC 9110 §13.2.2: If-None-Match comes first and then If-Modified-Since does not count.
fn is_unchanged(request: &Request, etag: &str, modified: SystemTime) -> bool {
    if request.header("if-none-match").is_some() {
        return request
            .list("if-none-match")
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes());
    }
    date(request, "if-modified-since").is_some_and(|since| seconds(modified) <= seconds(since))
}

/// The date of a condition; one that is none is ignored.
fn date(request: &Request, header: &str) -> Option<SystemTime> {
    let value = std::str::from_utf8(request.header(header)?).ok()?;
    httpdate::parse_http_date(value).ok()
}

/// HTTP's dates have whole seconds.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part { first: u64, length: u64 },
    Impossible,
}

fn wanted_range(request: &Request, size: u64, etag: &str, last_modified: &str) -> Range {
    // RFC 9110 §13.1.5: what the client has is of another version.
    if let Some(version) = request.header("if-range") {
        if version != etag.as_bytes() && version != last_modified.as_bytes() {
            return Range::Whole;
        }
    }
    match request.header("range") {
        Some(range) => parse_range(range, size),
        None => Range::Whole,
    }
}

/// RFC 9110 §14.1.2. What is no range is ignored.
fn parse_range(text: &[u8], size: u64) -> Range {
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, last) = match parsed {
        Some((first, last)) if digits(first) && digits(last) => (first.parse::<u64>(), last.parse::<u64>()),
        _ => return Range::Whole,
    };
    match (first, last) {
        // The last so many bytes.
        (Err(_), Ok(0)) => Range::Impossible,
        (Err(_), Ok(_)) if size == 0 => Range::Impossible,
        (Err(_), Ok(count)) => {
            let length = count.min(size);
            Range::Part {
                first: size - length,
                length,
            }
        }
        (Ok(first), last) => {
            let last = last.unwrap_or(u64::MAX).min(size.saturating_sub(1));
            if first >= size {
                Range::Impossible
            } else if last < first {
                Range::Whole
            } else {
                Range::Part {
                    first,
                    length: last - first + 1,
                }
            }
        }
        (Err(_), Err(_)) => Range::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_the_whole_or_impossible() {
        let part = |first, length| Range::Part { first, length };
        for (text, size, expected) in [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=2-5", 10, part(2, 4)),
            ("bytes=2-", 10, part(2, 8)),
            ("bytes=2-99", 10, part(2, 8)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("bytes=10-", 10, Range::Impossible),
            ("bytes=-0", 10, Range::Impossible),
            ("bytes=0-", 0, Range::Impossible),
            ("bytes=-1", 0, Range::Impossible),
            ("bytes=5-2", 10, Range::Whole),
            ("bytes=0-1,3-4", 10, Range::Whole),
            ("bytes=a-b", 10, Range::Whole),
            ("bytes=-", 10, Range::Whole),
            ("bytes=+1-2", 10, Range::Whole),
            ("lines=1-2", 10, Range::Whole),
        ] {
            assert_eq!(parse_range(text.as_bytes(), size), expected, "{text} of {size}");
        }
    }

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder(b"GET", b"/", fairlead_http::Version::Http11);
        for (name, value) in headers {
            request = request.header(name.as_bytes(), value.as_bytes());
        }
        request.finish()
    }

    #[test]
    fn who_wants_a_file_as_it_was_does_not_get_another_one() {
        let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_500);
        let date = httpdate::fmt_http_date(modified);
        let wanted = |headers: &[(&str, &str)]| is_as_wanted(&request(headers), "\"a\"", modified);
        assert!(wanted(&[]));
        assert!(wanted(&[("If-Match", "\"b\", \"a\"")]));
        assert!(wanted(&[("If-Match", "*")]));
        assert!(wanted(&[("If-Unmodified-Since", &date)]));
        assert!(wanted(&[("If-Unmodified-Since", "yesterday")]));
        assert!(wanted(&[
            ("If-Match", "\"a\""),
            ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")
        ]));
        assert!(!wanted(&[("If-Match", "\"b\"")]));
        assert!(!wanted(&[("If-Match", "W/\"a\"")]));
        assert!(!wanted(&[("If-Match", "\"b\""), ("If-Unmodified-Since", &date)]));
        assert!(!wanted(&[(
            "If-Unmodified-Since",
            "Thu, 01 Jan 1970 00:00:00 GMT"
        )]));
    }

    #[test]
    fn conditions_compare_tags_first_and_whole_seconds() {
        let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_500);
        let date = httpdate::fmt_http_date(modified);
        let unchanged = |headers: &[(&str, &str)]| is_unchanged(&request(headers), "\"a\"", modified);
        assert!(!unchanged(&[]));
        assert!(unchanged(&[("If-None-Match", "\"b\", W/\"a\"")]));
        assert!(unchanged(&[("If-None-Match", "*")]));
        assert!(unchanged(&[("If-Modified-Since", &date)]));
        assert!(!unchanged(&[(
            "If-Modified-Since",
            "Thu, 01 Jan 1970 00:00:00 GMT"
        )]));
        assert!(!unchanged(&[("If-Modified-Since", "yesterday")]));
        assert!(!unchanged(&[
            ("If-None-Match", "\"b\""),
            ("If-Modified-Since", &date)
        ]));
    }
}
