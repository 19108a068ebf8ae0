//! What each operation may do with a key in each state, as data: the vendors' own tables.

use super::key::{KeyState, Origin};
use super::request::{Face, Operation};

/// In which way a state forbids an operation. Vendors have different codes for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateRule {
    /// The key can't be used or changed like this while it is in its state.
    Rejected,
    /// The state doesn't lead to where the operation leads.
    CannotModify,
    /// Only for keys whose deletion is pending.
    NotPendingDeletion,
    /// The operation makes no sense for such a key.
    Unsupported,
}

impl StateRule {
    /// What would have to be true.
    pub(super) const fn remedy(self, state: KeyState) -> &'static str {
        match (self, state) {
            (Self::NotPendingDeletion, _) => "no deletion is pending that could be called off",
            (_, KeyState::Disabled) => "would have to be enabled: EnableKey",
            (_, KeyState::PendingDeletion) => {
                "the deletion would have to be called off: CancelKeyDeletion"
            }
            (_, KeyState::PendingImport) => {
                "key material would have to be imported: GetParametersForImport, ImportKeyMaterial"
            }
            (_, KeyState::Enabled) => "this is not for enabled keys",
        }
    }
}

/// Whose keys an operation is for, and whether that is judged before the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origins {
    Any,
    ThenOnly(Origin),
    FirstOnly(Origin),
}

/// `None`: allowed.
type Cell = Option<StateRule>;

/// In the order Enabled, Disabled, PendingDeletion, PendingImport.
struct Row(&'static [Operation], [Cell; 4], Origins);

const OK: Cell = None;
const REJECTED: Cell = Some(StateRule::Rejected);
const CANNOT: Cell = Some(StateRule::CannotModify);
const NOT_PENDING: Cell = Some(StateRule::NotPendingDeletion);
const UNSUPPORTED: Cell = Some(StateRule::Unsupported);

use Operation as Op;
use Origins::{Any, FirstOnly, ThenOnly};

/// Looking is allowed in every state, on all faces.
const READS: Row = Row(
    &[
        Op::DescribeKey,
        Op::ListAliasesByKeyId,
        Op::DeleteAlias,
        Op::ListKeyVersions,
        Op::DescribeKeyVersion,
        Op::ListResourceTags,
    ],
    [OK, OK, OK, OK],
    Any,
);

const CRYPTOGRAPHY: Row = Row(
    &[
        Op::Encrypt,
        Op::Decrypt,
        Op::GenerateDataKey,
        Op::GenerateDataKeyWithoutPlaintext,
        Op::ReEncrypt,
    ],
    [OK, REJECTED, REJECTED, REJECTED],
    Any,
);

const CREATE_VERSION: Row = Row(
    &[Op::CreateKeyVersion],
    [OK, REJECTED, REJECTED, REJECTED],
    ThenOnly(Origin::Generated),
);

const CHANGES: Row = Row(
    &[
        Op::UpdateKeyDescription,
        Op::TagResource,
        Op::UntagResource,
        Op::SetDeletionProtection,
        Op::UpdateAlias,
    ],
    [OK, OK, REJECTED, OK],
    Any,
);

/// Alibaba Cloud KMS; Tencent's differs in codes only.
const ALIBABA: &[Row] = &[
    CRYPTOGRAPHY,
    READS,
    CREATE_VERSION,
    CHANGES,
    Row(
        &[Op::EnableKey, Op::DisableKey],
        [OK, OK, CANNOT, CANNOT],
        Any,
    ),
    Row(
        &[Op::ScheduleKeyDeletion, Op::CreateAlias],
        [OK, OK, CANNOT, OK],
        Any,
    ),
    Row(&[Op::CancelKeyDeletion], [CANNOT, CANNOT, OK, CANNOT], Any),
    Row(
        &[Op::GetParametersForImport, Op::DeleteKeyMaterial],
        [OK, OK, OK, OK],
        ThenOnly(Origin::External),
    ),
    Row(
        &[Op::ImportKeyMaterial],
        [OK, OK, CANNOT, OK],
        ThenOnly(Origin::External),
    ),
    Row(
        &[Op::UpdateRotationPolicy],
        [OK, REJECTED, REJECTED, REJECTED],
        ThenOnly(Origin::Generated),
    ),
];

/// AWS KMS, for symmetric keys.
const AWS: &[Row] = &[
    CRYPTOGRAPHY,
    READS,
    CREATE_VERSION,
    CHANGES,
    Row(
        &[Op::EnableKey, Op::DisableKey],
        [OK, OK, REJECTED, REJECTED],
        Any,
    ),
    Row(
        &[Op::ScheduleKeyDeletion, Op::CreateAlias],
        [OK, OK, REJECTED, OK],
        Any,
    ),
    Row(
        &[Op::CancelKeyDeletion],
        [NOT_PENDING, NOT_PENDING, OK, NOT_PENDING],
        Any,
    ),
    Row(
        &[Op::GetParametersForImport, Op::ImportKeyMaterial],
        [OK, OK, REJECTED, OK],
        FirstOnly(Origin::External),
    ),
    Row(
        &[Op::DeleteKeyMaterial],
        [OK, OK, OK, OK],
        FirstOnly(Origin::External),
    ),
    Row(
        &[Op::UpdateRotationPolicy],
        [OK, REJECTED, REJECTED, UNSUPPORTED],
        FirstOnly(Origin::Generated),
    ),
];

/// What forbids an operation on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forbidden {
    State(StateRule),
    Origin,
}

/// Whether an operation on a key of this state and origin is allowed.
pub(super) fn judge(
    face: Face,
    operation: Operation,
    state: KeyState,
    origin: Origin,
) -> Result<(), Forbidden> {
    let table = match face {
        Face::Alibaba | Face::Tencent => ALIBABA,
        Face::Aws => AWS,
    };
    // An operation on no key has no row.
    let Some(Row(_, cells, origins)) = table.iter().find(|row| row.0.contains(&operation)) else {
        return Ok(());
    };
    let [enabled, disabled, pending_deletion, pending_import] = *cells;
    let by_state = match state {
        KeyState::Enabled => enabled,
        KeyState::Disabled => disabled,
        KeyState::PendingDeletion => pending_deletion,
        KeyState::PendingImport => pending_import,
    }
    .map_or(Ok(()), |rule| Err(Forbidden::State(rule)));
    match *origins {
        Any => by_state,
        ThenOnly(only) => by_state.and(if origin == only {
            Ok(())
        } else {
            Err(Forbidden::Origin)
        }),
        FirstOnly(only) if origin != only => Err(Forbidden::Origin),
        FirstOnly(_) => by_state,
    }
}
