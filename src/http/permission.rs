//! The permission that a route requires, and which clients have it.

use super::error::Failure;

/// What a client needs to get a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Reading of repositories and of the public API: open to everyone.
    PublicRead,
    /// A signature with the secret of the addressed object, which the handler verifies.
    Signature,
    /// The admin API.
    Admin,
}

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// Any client on the network.
    Anonymous,
    /// A client of the admin socket, to which only administrators have access.
    Administrator,
}

impl Principal {
    /// Checks the permission for a response, new or cached.
    ///
    /// # Errors
    /// 404: as if there were nothing at the address.
    pub(super) fn require(self, permission: Permission) -> Result<(), Failure> {
        match (self, permission) {
            (
                Principal::Anonymous | Principal::Administrator,
                Permission::PublicRead | Permission::Signature,
            )
            | (Principal::Administrator, Permission::Admin) => Ok(()),
            (Principal::Anonymous, Permission::Admin) => Err(Failure::no_such_address()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_api_does_not_exist_for_clients_on_the_network() {
        for client in [Principal::Anonymous, Principal::Administrator] {
            assert_eq!(client.require(Permission::PublicRead), Ok(()));
            assert_eq!(client.require(Permission::Signature), Ok(()));
        }
        assert_eq!(Principal::Administrator.require(Permission::Admin), Ok(()));
        assert_eq!(Principal::Anonymous.require(Permission::Admin), Err(Failure::no_such_address()));
    }
}
