//! What this process takes of its machine.

/// Bytes of memory that the process has in use (resident), where the system tells.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn memory_in_use_is_what_was_touched() {
        let before = super::resident_bytes().unwrap();
        let touched = vec![1_u8; 64 << 20];
        let after = super::resident_bytes().unwrap();
        assert!(before > 100_000 && after >= before + (60 << 20), "{before} then {after}");
        drop(touched);
    }
}
