//! The binary against scripted servers: what it sends, what it counts, how it ends.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod layered;
#[cfg(test)]
mod run;
#[cfg(test)]
mod server;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod terminal;
