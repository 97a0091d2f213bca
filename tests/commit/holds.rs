//! Steps of commits at which a process of Tributary waits or ends, as a test wishes while it runs (`write::failpoint`).

use std::fs;
use std::path::PathBuf;

use tributary::write::failpoint::Point;

/// What a process is asked to do at its steps. It is the directory of one process.
pub struct Holds {
    directory: tempfile::TempDir,
}

impl Holds {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// What the process is told at its start: at every step it looks here.
    pub fn failpoints(&self) -> String {
        let directory = self.directory.path().display();
        Point::ALL.iter().map(|(_, name)| format!("{name}=ask:{directory}")).collect::<Vec<_>>().join(", ")
    }

    /// The next one at the step waits there until [`Holds::release`].
    pub fn hold(&self, point: &str) {
        self.say(point, "");
    }

    /// The process ends when the next one is at the step.
    pub fn kill(&self, point: &str) {
        self.say(point, "kill");
    }

    /// Whether somebody waits at the step.
    pub fn is_held(&self, point: &str) -> bool {
        self.held(point).exists()
    }

    /// Lets whoever waits at the step go on.
    pub fn release(&self, point: &str) {
        fs::remove_file(self.held(point)).unwrap();
    }

    /// Takes back whatever was asked. The process has ended.
    pub fn clear(&self) {
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    fn held(&self, point: &str) -> PathBuf {
        self.directory.path().join(format!("{point}.held"))
    }

    /// Whoever finds the word finds all of it.
    fn say(&self, point: &str, word: &str) {
        assert!(Point::ALL.iter().any(|(_, name)| *name == point), "{point} is no step");
        let path = self.directory.path().join(point);
        let early = path.with_extension("new");
        fs::write(&early, word).unwrap();
        fs::rename(&early, &path).unwrap();
    }
}
