//! What every verb starts from: the workspace, the terminal, the profile, and the session if there is one.

use anyhow::Result;

use crate::cli::GlobalArgs;
use crate::session::{self, Session};
use crate::terminal::Terminal;
use crate::workspace::Workspace;

pub(crate) struct Lab<'t> {
    pub workspace: Workspace,
    pub terminal: &'t Terminal,
    pub profile: String,
}

impl<'t> Lab<'t> {
    pub(crate) fn open(args: &GlobalArgs, terminal: &'t Terminal) -> Result<Lab<'t>> {
        session::check_profile_name(&args.profile)?;
        Ok(Lab { workspace: Workspace::locate()?, terminal, profile: args.profile.clone() })
    }

    pub(crate) fn session(&self) -> Result<Session> {
        Session::require(&self.workspace, &self.profile)
    }

    /// The command line of another verb for the same profile, to show or to advise.
    pub(crate) fn command(&self, verb: &str) -> String {
        if self.profile == session::DEFAULT_PROFILE {
            format!("cargo xtask {verb}")
        } else {
            format!("cargo xtask {verb} --profile {}", self.profile)
        }
    }
}
