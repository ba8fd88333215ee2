//! What the kernel says of the process's memory.

use serde::Serialize;

/// Bytes of memory; 0 where the kernel does not say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(super) struct Memory {
    /// In RAM, all told.
    pub(super) resident_bytes: u64,
    /// Of these, the heap and the stacks.
    pub(super) anonymous_bytes: u64,
    /// Of these, pages of mapped files: the log's segments and the program.
    pub(super) file_bytes: u64,
    /// Of these, shared memory.
    pub(super) shared_bytes: u64,
    /// The most that was ever in RAM.
    pub(super) peak_resident_bytes: u64,
}

impl Memory {
    /// As it is now.
    pub(super) fn read() -> Self {
        std::fs::read_to_string("/proc/self/status")
            .map_or_else(|_| Self::default(), |s| Self::parse(&s))
    }

    fn parse(status: &str) -> Self {
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kibibytes =
                value.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kibibytes.map_or(0, |kibibytes| kibibytes.saturating_mul(1_024))
        };
        Self {
            resident_bytes: bytes("VmRSS"),
            anonymous_bytes: bytes("RssAnon"),
            file_bytes: bytes("RssFile"),
            shared_bytes: bytes("RssShmem"),
            peak_resident_bytes: bytes("VmHWM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\nRssFile:\t     12 kB\n";
        let memory = Memory::parse(status);
        assert_eq!(memory.peak_resident_bytes, 2 << 20);
        assert_eq!(memory.resident_bytes, 1 << 20);
        assert_eq!(memory.anonymous_bytes, 512 << 10);
        assert_eq!(memory.file_bytes, 12 << 10);
        assert_eq!(memory.shared_bytes, 0, "not said");
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Memory::read();
        assert!(memory.anonymous_bytes > 0 && memory.peak_resident_bytes >= memory.anonymous_bytes);
    }
}
