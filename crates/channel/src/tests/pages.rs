//! Pages: bounded in messages and bytes, without a hole between one and the next.

use super::{channels, publish};
use crate::Missed;

#[test]
fn pages_follow_one_another_without_a_hole() {
    let channels = channels();
    let offsets: Vec<u64> = (0..20).map(|n| publish(&channels, "a", &[n; 100])).collect();
    let (mut since, mut found) = (0, Vec::new());
    loop {
        let page = channels.page("a", Some(since), 100, 500).unwrap().unwrap();
        assert_eq!((page.missed, page.offset), (Missed::Nothing, offsets[19]));
        // Three of 164 bytes each.
        assert!(page.messages.len() <= 3);
        found.extend(page.messages.iter().map(|(record, _)| record.offset));
        since = *found.last().unwrap();
        if page.is_all {
            break;
        }
    }
    assert_eq!(found, offsets);
}

#[test]
fn a_page_takes_one_message_however_long_it_is() {
    let channels = channels();
    publish(&channels, "a", &[1; 5000]);
    publish(&channels, "a", &[2; 5000]);
    let page = channels.page("a", Some(0), 100, 0).unwrap().unwrap();
    assert_eq!((page.messages.len(), page.is_all), (1, false));
    assert_eq!(page.messages[0].1, [1; 5000]);
}

#[test]
fn without_an_offset_a_page_has_the_newest() {
    let channels = channels();
    let offsets: Vec<u64> = (0..5).map(|n| publish(&channels, "a", &[n])).collect();
    let page = channels.page("a", None, 2, 1000).unwrap().unwrap();
    let found: Vec<u64> = page.messages.iter().map(|(record, _)| record.offset).collect();
    assert_eq!((found, page.is_all), (offsets[3..].to_vec(), true));
}

#[test]
fn a_page_tells_what_is_lost_and_what_nobody_knows() {
    let channels = channels();
    assert!(channels.page("a", Some(7), 10, 1000).unwrap().is_none());
    let first = publish(&channels, "a", b"first");
    for _ in 0..40 {
        publish(&channels, "a", &[0; 100_000]);
    }
    let page = channels.page("a", Some(first), 1, 0).unwrap().unwrap();
    let oldest = page.messages[0].0.offset;
    assert_eq!(page.missed, Missed::Messages(oldest - first - 1));
    assert!(oldest > first + 1);
    for unknown in [7, page.offset + 1] {
        let page = channels.page("a", Some(unknown), 1, 0).unwrap().unwrap();
        assert_eq!(page.missed, Missed::Unknown);
        assert_eq!(
            page.messages[0].0.offset, oldest,
            "all there is, behind {unknown}"
        );
    }
}

#[test]
fn a_page_of_a_bad_name_is_an_error() {
    assert!(channels().page("", None, 1, 1).is_err());
}
