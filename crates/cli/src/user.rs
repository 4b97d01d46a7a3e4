//! `keyway user`: who can log in, in the folder of a broker that does not run.

mod add;
mod list;
mod remove;

use crate::{failure::Failure, folder::Folder};
use clap::{Args, Subcommand};
use keyway_broker::{OfflineUsers, OfflineUsersError};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
A user logs in to listeners whose security protocol is SASL_SSL or
SASL_PLAINTEXT, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Of a password only
SCRAM keys are stored. The first user is made while the broker does not run;
users of a running broker are changed by Kafka's own kafka-configs:

  keyway user add admin --data /var/lib/keyway < password.txt
  kafka-configs --bootstrap-server localhost:9092 --alter --entity-type users \\
    --entity-name alice --add-config 'SCRAM-SHA-512=[password=…]'";

/// Make, list and remove users, in the folder of a broker that does not run
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct User {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Add(add::Add),
    List(list::List),
    Remove(remove::Remove),
}

/// Where the users are.
#[derive(Args)]
struct Data {
    /// The broker's folder
    #[arg(long, value_name = "DIR", default_value = "./keyway-data")]
    data: PathBuf,
}

/// The users, and the folder that they are in, which has to be closed.
struct Opened {
    users: OfflineUsers,
    folder: Folder,
}

impl User {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(add) => add.run().await,
            Command::List(list) => list.run(),
            Command::Remove(remove) => remove.run().await,
        }
    }
}

impl Data {
    fn open(&self) -> Result<Opened, Failure> {
        let folder = Folder::open(&self.data)?;
        let users = OfflineUsers::open(&folder.world, &folder.store).map_err(failure)?;
        Ok(Opened { users, folder })
    }
}

impl Opened {
    fn close(self) -> Result<(), Failure> {
        self.folder.close()
    }
}

fn failure(error: OfflineUsersError) -> Failure {
    match error {
        OfflineUsersError::Name | OfflineUsersError::NoPassword => Failure::Usage(error.to_string()),
        OfflineUsersError::Unknown(_) => Failure::NotFound(error.to_string()),
        OfflineUsersError::Store(_) => Failure::Failed(error.to_string()),
    }
}
