//! A disk in memory that forgets what was not synced, and fails when it is told to.
