//! Where we differ from Helm on purpose: the list that `docs/parity.md` shows, and nothing else may differ.

/// One deliberate difference.
pub struct Difference {
    /// How scenarios refer to it.
    pub name: &'static str,
    /// When it is seen.
    pub when: &'static str,
    /// What Helm does.
    pub helm: &'static str,
    /// What the program does.
    pub ours: &'static str,
    /// Why ours is right.
    pub why: &'static str,
}

/// All of them.
pub const KNOWN: &[Difference] = &[Difference {
    name: "autoscaler-keeps-its-number",
    when: "an autoscaler owns the replicas and the manifest names a number",
    helm: "resets the workload to the manifest's number; an autoscaler brings it back later, under load too late",
    ours: "sends the number that runs",
    why: "the manifest's number is where the autoscaler started, not what the load needs (helm#12650)",
}];

/// A difference by its name.
pub fn find(name: &str) -> Option<&'static Difference> {
    KNOWN.iter().find(|difference| difference.name == name)
}
