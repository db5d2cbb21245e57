//! `--user` and `--group`: whose processes the workers are.
//!
//! Names are looked up here, once, before anything is started. What is a number is one: an account with such a name
//! would be a mistake.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getuid};

use crate::config::{Identity, Login};
use crate::sys::credentials::Capability;

/// Everything about a user that its workers need.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) identity: Identity,
    pub(super) login: Login,
}

impl Account {
    /// The user of a name or a number, with its own group or another one, and all that it is in.
    ///
    /// A number without an account has nothing but a group that must be given: the one that the supervisor has is
    /// root's.
    ///
    /// # Errors
    /// A clause: there is none, or it has no group.
    pub(super) fn of(text: &str, group: Option<u32>) -> Result<Self, String> {
        match (looked_up(text)?, group) {
            (Found::Account(user), group) => {
                let group = group.unwrap_or(user.gid.as_raw());
                Ok(Self {
                    identity: Identity {
                        user: user.uid.as_raw(),
                        group,
                        groups: groups_of(&user.name, group)?,
                        name: user.name.clone(),
                    },
                    login: login_of(&user),
                })
            }
            (Found::Number(user), Some(group)) => Ok(Self {
                identity: Identity {
                    user,
                    group,
                    groups: vec![group],
                    name: user.to_string(),
                },
                login: Login::default(),
            }),
            (Found::Number(_), None) => {
                Err("no account has this number, so its group is not known; give --group".into())
            }
        }
    }
}

/// The supervisor's own user with one group, that and no other: those that root is in are root's.
pub(super) fn own_user_in(group: u32) -> Identity {
    let user = geteuid();
    let account = User::from_uid(user).ok().flatten();
    Identity {
        user: user.as_raw(),
        group,
        groups: vec![group],
        name: account.map_or_else(|| user.to_string(), |account| account.name),
    }
}

/// The group of a name or a number.
///
/// # Errors
/// A clause: there is none.
pub(super) fn group(text: &str) -> Result<u32, String> {
    if let Some(number) = number(text)? {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) | Err(Errno::EINVAL) => {
            Err("there is no such group; give a name of /etc/group, or a number".into())
        }
        Err(error) => Err(format!(
            "cannot look the group up: {error}; give its number"
        )),
    }
}

/// Whether workers can be of that user and group; none where they are it anyhow.
///
/// The capabilities are asked for, and not only root: containers take some of them away, and a worker that cannot be
/// told to stop is worse than one that is not started.
///
/// # Errors
/// A clause that says what is missing.
pub(super) fn permitted(identity: Identity) -> Result<Option<Identity>, String> {
    if !geteuid().is_root() {
        let is_same_user = identity.user == getuid().as_raw() && getuid() == geteuid();
        return match (is_same_user, identity.group == getegid().as_raw()) {
            (true, true) => Ok(None),
            (true, false) => Err(format!(
                "only root can start workers of another group ({}): run reuseport-run as root",
                identity.group
            )),
            (false, _) => Err(
                "only root can start workers of another user: run reuseport-run as root, or leave this option out"
                    .into(),
            ),
        };
    }
    let needed = match identity.user {
        0 => &[Capability::SetGid, Capability::SetUid][..],
        _ => &[Capability::SetGid, Capability::SetUid, Capability::Kill],
    };
    match needed.iter().find(|capability| !capability.is_ours()) {
        None => Ok(Some(identity)),
        Some(missing) => Err(format!(
            "it takes CAP_{0}, which was taken from root here; give it (in Docker --cap-add {0})",
            missing.name()
        )),
    }
}

enum Found {
    Account(User),
    Number(u32),
}

fn looked_up(text: &str) -> Result<Found, String> {
    let (found, number) = match number(text)? {
        Some(number) => (User::from_uid(Uid::from_raw(number)), Some(number)),
        None => (User::from_name(text), None),
    };
    match (found, number) {
        (Ok(Some(user)), _) => Ok(Found::Account(user)),
        // A number needs no account, nor a directory server that answers.
        (Ok(None) | Err(_), Some(number)) => Ok(Found::Number(number)),
        (Ok(None) | Err(Errno::EINVAL), None) => Err(
            "there is no such user; give a name of /etc/passwd, or a number with --group".into(),
        ),
        (Err(error), None) => Err(format!(
            "cannot look the user up: {error}; give numbers, with --group"
        )),
    }
}

/// A number, if it is one.
fn number(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    // The greatest one means "as it was" to the calls that change a user (setresuid(2)).
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(format!("give a number from 0 to {}", u32::MAX - 1)),
    }
}

/// The group, and all others that the account is a member of.
fn groups_of(name: &str, group: u32) -> Result<Vec<u32>, String> {
    let groups = CString::new(name)
        .map_err(|_| Errno::EINVAL)
        .and_then(|name| getgrouplist(&name, Gid::from_raw(group)));
    match groups {
        Ok(groups) => Ok(groups.into_iter().map(Gid::as_raw).collect()),
        Err(error) => Err(format!(
            "cannot look up which groups it is in: {error}; give numbers, with --group"
        )),
    }
}

/// What a login would say, as systemd's `User=` does: a home that is none and a shell that lets nobody in are left out.
fn login_of(user: &User) -> Login {
    let is_a_path = |path: &&PathBuf| path.is_absolute() && path.as_path() != Path::new("/");
    let lets_in = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default();
        !["nologin", "false", "true"]
            .iter()
            .any(|closed| name == *closed)
    };
    Login {
        name: Some(user.name.clone()),
        home: Some(&user.dir).filter(is_a_path).cloned(),
        shell: Some(&user.shell).filter(is_a_path).filter(lets_in).cloned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_an_account_are_the_same() {
        let by_name = Account::of("root", None).unwrap();
        let by_number = Account::of("0", None).unwrap();
        assert_eq!(by_name.identity, by_number.identity);
        assert_eq!((by_name.identity.user, by_name.identity.group), (0, 0));
        assert!(by_name.identity.groups.contains(&0));
        assert_eq!(by_name.login, by_number.login);
        assert_eq!(by_name.login.name.as_deref(), Some("root"));
        assert_eq!(group("root"), Ok(0));
        assert_eq!(group("4242424"), Ok(4_242_424));
    }

    #[test]
    fn another_group_takes_the_place_of_its_own() {
        let account = Account::of("root", Some(4_242_424)).unwrap();
        assert_eq!(account.identity.group, 4_242_424);
        assert!(account.identity.groups.contains(&4_242_424));
    }

    #[test]
    fn a_number_without_an_account_has_one_group_and_no_login() {
        let account = Account::of("4242424", Some(7)).unwrap();
        let expected = Identity {
            user: 4_242_424,
            group: 7,
            groups: vec![7],
            name: "4242424".into(),
        };
        assert_eq!(account.identity, expected);
        assert_eq!(account.login, Login::default());
        let reason = Account::of("4242424", None).unwrap_err();
        assert!(reason.contains("give --group"), "{reason}");
    }

    #[test]
    fn whom_nobody_knows() {
        for text in ["", "no such user", "root\0", "-1", "+0", "0x0", "root:root"] {
            let reason = Account::of(text, None).unwrap_err();
            assert!(reason.contains("no such user"), "{text:?}: {reason}");
            let reason = group(text).unwrap_err();
            assert!(reason.contains("no such group"), "{text:?}: {reason}");
        }
        for text in ["4294967295", "99999999999"] {
            let reason = Account::of(text, None).unwrap_err();
            assert!(reason.contains("0 to 4294967294"), "{text:?}: {reason}");
            assert_eq!(group(text), Err(reason));
        }
    }

    #[test]
    fn a_login_without_a_home_and_with_a_closed_door() {
        let mut user = User::from_uid(Uid::from_raw(0)).unwrap().unwrap();
        (user.dir, user.shell) = ("/srv/web".into(), "/bin/sh".into());
        let open = login_of(&user);
        assert_eq!(open.home.as_deref(), Some(Path::new("/srv/web")));
        assert_eq!(open.shell.as_deref(), Some(Path::new("/bin/sh")));
        for (home, shell) in [("/", "/usr/sbin/nologin"), ("", "/bin/false"), ("here", "")] {
            (user.dir, user.shell) = (home.into(), shell.into());
            let closed = login_of(&user);
            assert_eq!((closed.home, closed.shell), (None, None), "{home} {shell}");
        }
    }

    #[test]
    fn who_is_not_root_can_be_only_itself() {
        let own = own_user_in(getegid().as_raw());
        let other = Identity {
            user: 4_242_424,
            ..own.clone()
        };
        if geteuid().is_root() {
            assert_eq!(permitted(own.clone()), Ok(Some(own)));
        } else {
            assert_eq!(permitted(own), Ok(None));
            assert!(permitted(other).unwrap_err().contains("only root"));
        }
    }
}
