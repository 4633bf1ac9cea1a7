//! The bytes of a file, as far as they differ from a file that stays as it is: an overlay of pages, so that a large file
//! of which little was written costs little.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
const PAGE_LEN: usize = 4096;
type Page = [u8; PAGE_LEN];

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    base: Option<PathBuf>,
    /// Bytes of the base that still count; at most `len`.
    base_len: u64,
    /// What lies beyond `len` in the last of them is zero.
    pages: BTreeMap<u64, Box<Page>>,
    len: u64,
}

impl Content {
    /// What stands in a file that nobody changes.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let len = fs::metadata(path)?.len();
        Ok(Self { base: Some(path.to_owned()), base_len: len, pages: BTreeMap::new(), len })
    }

    /// Writes, and is longer afterwards if need be.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let base = self.open()?;
        let mut rest = bytes;
        let mut place = at;
        while !rest.is_empty() {
            let from = within(place);
            let (now, later) = rest.split_at(rest.len().min(PAGE_LEN - from));
            self.page_mut(place / PAGE, base.as_ref())?[from..from + now.len()].copy_from_slice(now);
            place += now.len() as u64;
            rest = later;
        }
        self.reach(place);
        Ok(())
    }

    /// Makes bytes zero that are there.
    pub(crate) fn zero(&mut self, at: u64, len: u64) -> io::Result<()> {
        let (base, end) = (self.open()?, at.saturating_add(len).min(self.len));
        let mut place = at;
        while place < end {
            let next = (place / PAGE * PAGE + PAGE).min(end);
            if self.pages.contains_key(&(place / PAGE)) || place / PAGE * PAGE < self.base_len {
                let from = within(place);
                self.page_mut(place / PAGE, base.as_ref())?[from..][..within(next - place - 1) + 1].fill(0);
            }
            place = next;
        }
        Ok(())
    }

    /// Is at least so long.
    pub(crate) fn reach(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Is so long; what is new is zero.
    pub(crate) fn resize(&mut self, len: u64) -> io::Result<()> {
        if len < self.len {
            self.zero(len, PAGE - len % PAGE)?;
            self.pages.split_off(&len.div_ceil(PAGE));
            self.base_len = self.base_len.min(len);
        }
        self.len = len;
        Ok(())
    }

    /// Creates a file with these bytes, and holes where whole pages are zero.
    pub(crate) fn save(&self, path: &Path, mode: u32) -> io::Result<()> {
        let file = File::options().write(true).create_new(true).mode(mode).open(path)?;
        file.set_len(self.len)?;
        self.each_page(|at, page| {
            if page.iter().any(|&byte| byte != 0) {
                file.write_all_at(page, at)?;
            }
            Ok(true)
        })?;
        Ok(())
    }

    /// Whether exactly these bytes stand in a file.
    pub(crate) fn is_in(&self, path: &Path) -> io::Result<bool> {
        let file = File::open(path)?;
        let mut same = file.metadata()?.len() == self.len;
        let mut there = [0; PAGE_LEN];
        self.each_page(|at, page| {
            same &= file.read_exact_at(&mut there[..page.len()], at).is_ok() && there[..page.len()] == *page;
            Ok(same)
        })?;
        Ok(same)
    }

    /// Every page as far as the file goes, until it is told to stop.
    fn each_page(&self, mut look: impl FnMut(u64, &[u8]) -> io::Result<bool>) -> io::Result<()> {
        let base = self.open()?;
        for number in 0..self.len.div_ceil(PAGE) {
            let page = self.page(number, base.as_ref())?;
            let here = if self.len / PAGE == number { within(self.len) } else { PAGE_LEN };
            if !look(number * PAGE, &page[..here])? {
                break;
            }
        }
        Ok(())
    }

    fn open(&self) -> io::Result<Option<File>> {
        self.base.as_ref().filter(|_| self.base_len > 0).map(File::open).transpose()
    }

    fn page(&self, number: u64, base: Option<&File>) -> io::Result<Page> {
        if let Some(page) = self.pages.get(&number) {
            return Ok(**page);
        }
        let mut page = [0; PAGE_LEN];
        let at = number * PAGE;
        if let Some(base) = base.filter(|_| at < self.base_len) {
            let here = if self.base_len / PAGE == number { within(self.base_len) } else { PAGE_LEN };
            base.read_exact_at(&mut page[..here], at)?;
        }
        Ok(page)
    }

    fn page_mut(&mut self, number: u64, base: Option<&File>) -> io::Result<&mut Page> {
        if !self.pages.contains_key(&number) {
            let page = self.page(number, base)?;
            self.pages.insert(number, Box::new(page));
        }
        self.pages
            .get_mut(&number)
            .map(|page| &mut **page)
            .ok_or_else(|| io::Error::other("the page was just put there"))
    }
}

/// Where in its page an offset lies.
fn within(at: u64) -> usize {
    usize::try_from(at % PAGE).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_what_a_file_would_be_after_the_same_changes() {
        let place = std::env::temp_dir().join(format!("powercut-content-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a folder");
        let base = place.join("base");
        fs::write(&base, vec![7; 10_000]).expect("a base");
        let mut content = Content::of(&base).expect("it is there");
        let real = place.join("real");
        fs::copy(&base, &real).expect("a copy");
        let file = File::options().write(true).open(&real).expect("the copy");
        let mut dice = 1_u64;
        for turn in 0..400 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (at, len) = ((dice >> 33) % 20_000, (dice >> 20) % 6_000);
            match turn % 5 {
                0 => {
                    content.resize(at).expect("resized");
                    file.set_len(at).expect("resized");
                }
                1 => {
                    content.zero(at, len).expect("zeroed");
                    let end = (at + len).min(file.metadata().expect("it is there").len());
                    let zeros = vec![0; usize::try_from(end.saturating_sub(at)).expect("small")];
                    file.write_all_at(&zeros, at.min(end)).expect("zeroed");
                }
                _ => {
                    let bytes = vec![u8::try_from(turn % 251).expect("small"); usize::try_from(len).expect("small")];
                    content.write(at, &bytes).expect("written");
                    file.write_all_at(&bytes, at).expect("written");
                }
            }
            assert!(len == 0 || content.is_in(&real).expect("it is there"), "turn {turn}");
        }
        content.save(&place.join("saved"), 0o600).expect("saved");
        assert_eq!(fs::read(place.join("saved")).expect("saved"), fs::read(&real).expect("it is there"));
        fs::remove_dir_all(&place).expect("it can go");
    }
}
