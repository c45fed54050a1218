"""Access control lists: how requests give them, how answers show them, and their handlers.

Where a bucket has them disabled ("bucket owner enforced", as new ones have), a list
shows the owner with full control, and nothing else can be set.
Source: S3 user guide, "Access control list (ACL) overview" and "Controlling ownership
of objects and disabling ACLs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import decision, grants
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Need, Needs, Refused, Result, operation
from strongroom.dialects.s3 import facets, locks, services

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from strongroom.dialects.s3.services import Services

_FULL: Final = "bucket-owner-full-control"
_GROUP_URIS: Final = {
    grants.ALL_USERS: "http://acs.amazonaws.com/groups/global/AllUsers",
    grants.AUTHENTICATED_USERS: "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    grants.LOG_DELIVERY: "http://acs.amazonaws.com/groups/s3/LogDelivery",
}
_GROUPS: Final = {uri: name for name, uri in _GROUP_URIS.items()}
_HEADERS: Final = {
    "GrantRead": grants.Permission.READ,
    "GrantWrite": grants.Permission.WRITE,
    "GrantReadACP": grants.Permission.READ_ACP,
    "GrantWriteACP": grants.Permission.WRITE_ACP,
    "GrantFullControl": grants.Permission.FULL_CONTROL,
}
"""Members that carry grants; those of objects have no WRITE."""


def names_list(params: Mapping[str, Any]) -> bool:
    """Whether a request says anything about an access list."""
    return "ACL" in params or any(member in params for member in _HEADERS)


def needs_to_write(params: Mapping[str, Any]) -> list[Need]:
    """Return what writing an object needs: that, and to tag, list and lock it if it does."""
    key = params["Key"]
    found = [Need(Action.PUT_OBJECT, key)]
    if params.get("Tagging"):
        found.append(Need(Action.PUT_OBJECT_TAGGING, key, makes=True))
    if names_list(params):
        found.append(Need(Action.PUT_OBJECT_ACL, key, makes=True))
    return found + locks.needs_to_write(params)


WRITES: Final = Needs(
    (
        Action.PUT_OBJECT,
        Action.PUT_OBJECT_TAGGING,
        Action.PUT_OBJECT_ACL,
        Action.PUT_OBJECT_RETENTION,
        Action.PUT_OBJECT_LEGAL_HOLD,
    ),
    needs_to_write,
)


async def of_new_object(call: Call) -> tuple[str, str]:
    """Return who will own an object that the call writes, and its list, encoded.

    The list is empty where it would say no more than that the owner has full control.

    Raises:
        Refused: lists are disabled here, or it is none.
        AccessDenied: it is public, and public ones are blocked.
    """
    params, bucket = call.params, call.place
    rules = decision.rules_of(bucket)
    writer = call.principal.user_id
    if not rules.has_lists:
        _check_disabled(params, bucket.owner)
        return bucket.owner, ""
    if rules.ownership is decision.Ownership.PREFERRED and params.get("ACL") == _FULL:
        return bucket.owner, ""
    if not names_list(params):
        return writer, ""
    listed = await _requested(call, writer, bucket.owner)
    _check_public(listed, rules)
    return writer, "" if listed == grants.private(writer) else listed.encode()


def _check_disabled(params: Mapping[str, Any], owner: str) -> None:
    """Refuse every list but those that give the bucket's owner full control, as it has anyway.

    Source: S3 user guide, "Controlling ownership of objects and disabling ACLs";
    `private` is refused, too.

    Raises:
        Refused: another one.
    """
    acl = params.get("ACL")
    given = {member: params[member] for member in _HEADERS if member in params}
    full = given.pop("GrantFullControl", None)
    if (
        acl not in (None, _FULL)
        or given
        or (full is not None and _grantees(full) != [("id", owner)])
    ):
        raise Refused("AccessControlListNotSupported")


def _check_public(listed: grants.AccessList, rules: decision.Rules) -> None:
    if rules.block.public_acls and listed.is_public:
        raise errors.AccessDenied


async def _requested(call: Call, owner: str, bucket_owner: str) -> grants.AccessList:
    """Return the list that headers or the document of a request describe.

    Raises:
        Refused: there is none, more than one, or one that names nobody known.
    """
    params = call.params
    headers = [member for member in _HEADERS if member in params]
    name, document = params.get("ACL"), params.get("AccessControlPolicy")
    if name is not None and headers:
        raise Refused(
            "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed"
        )
    if document is not None and (name is not None or headers):
        raise Refused("UnexpectedContent")
    if name is not None:
        listed = grants.canned(name, owner, bucket_owner)
        if listed is None:
            raise facets.bad_argument("x-amz-acl", name, "")
        return listed
    store = services.of(call)
    if headers:
        found = [
            grants.Grant(await _known(store, kind, value), _HEADERS[member])
            for member in headers
            for kind, value in _grantees(params[member])
        ]
    elif document is not None:
        found = await _of_document(store, document, owner)
    else:
        raise Refused("MissingSecurityHeader")
    if len(found) > grants.MAX_GRANTS:
        raise Refused("MalformedACLError")
    return grants.AccessList(owner, tuple(dict.fromkeys(found)))


def _grantees(header: str) -> list[tuple[str, str]]:
    """Read `id="…", uri="…"` into (kind, value).

    Raises:
        Refused: it has another form.
    """
    found: list[tuple[str, str]] = []
    for piece in header.split(","):
        kind, equals, value = piece.strip().partition("=")
        text = value.strip().strip('"').strip("'")
        if not equals or kind.lower() not in ("id", "uri", "emailaddress") or not text:
            raise Refused("InvalidArgument", "Argument format not recognized")
        found.append((kind.lower(), text))
    return found


async def _known(store: Services, kind: str, value: str) -> str:
    """Return the grantee that a request names.

    Raises:
        Refused: there is nobody of this id, no such group, or only an address is given.
    """
    if kind == "uri":
        if value not in _GROUPS:
            raise facets.bad_argument("uri", value, "Invalid group uri")
        return _GROUPS[value]
    if kind == "emailaddress":
        # Users here have no addresses.
        raise Refused("UnresolvableGrantByEmailAddress", EmailAddress=value)
    if not await store.people.is_known(value):
        raise facets.bad_argument("CanonicalUser/ID", value, "Invalid id")
    return value


async def _of_document(
    store: Services, document: Mapping[str, Any], owner: str
) -> list[grants.Grant]:
    named = document.get("Owner", {}).get("ID")
    if named is None:
        raise Refused("MalformedACLError")
    if named != owner:
        raise errors.AccessDenied
    return await of_rows(store, document.get("Grants", ()))


async def of_rows(store: Services, rows: Iterable[Mapping[str, Any]]) -> list[grants.Grant]:
    """Return the grants that elements of a document describe.

    Raises:
        Refused: one of them is none, or names nobody known.
    """
    found: list[grants.Grant] = []
    for each in rows:
        grantee = each.get("Grantee", {})
        try:
            permission = grants.Permission(each.get("Permission", ""))
        except ValueError:
            raise Refused("MalformedACLError") from None
        kinds = {"CanonicalUser": "ID", "Group": "URI", "AmazonCustomerByEmail": "EmailAddress"}
        member = kinds.get(grantee.get("Type", ""), "")
        value = grantee.get(member)
        if not value:
            raise Refused("MalformedACLError")
        found.append(grants.Grant(await _known(store, member.lower(), value), permission))
    return found


async def _shown(store: Services, listed: grants.AccessList) -> Result:
    people = await store.owners(
        {listed.owner, *(grant.grantee for grant in listed.grants)} - grants.GROUPS
    )
    return {
        "Owner": people[listed.owner],
        "Grants": [
            {
                "Grantee": {"Type": "Group", "URI": _GROUP_URIS[grant.grantee]}
                if grant.grantee in grants.GROUPS
                else {"Type": "CanonicalUser", **people[grant.grantee]},
                "Permission": grant.permission.value,
            }
            # Groups first, as some clients compare what they see.
            for grant in sorted(listed.grants, key=lambda grant: grant.grantee not in grants.GROUPS)
        ],
    }


async def of_new_bucket(call: Call, ownership: decision.Ownership, *, blocked: bool) -> str:
    """Return the encoded list of a bucket that a call makes; empty for the owner's alone.

    Raises:
        Refused: lists will be disabled there, or public ones blocked, or it is none.
    """
    params = call.params
    if not names_list(params):
        return ""
    owner = call.principal.user_id
    if ownership is decision.Ownership.ENFORCED:
        if params.get("ACL") == "private" and not any(member in params for member in _HEADERS):
            return ""
        raise Refused("InvalidBucketAclWithObjectOwnership")
    listed = await _requested(call, owner, owner)
    if blocked and listed.is_public:
        raise Refused("InvalidBucketAclWithBlockPublicAccessError")
    return "" if listed == grants.private(owner) else listed.encode()


@operation("GetBucketAcl", action=Action.GET_BUCKET_ACL)
async def get_bucket_acl(call: Call) -> Result:
    rules = decision.rules_of(call.place)
    listed = rules.acl if rules.has_lists else grants.private(rules.owner)
    return await _shown(services.of(call), listed)


@operation("PutBucketAcl", action=Action.PUT_BUCKET_ACL, body=Body.DOCUMENT)
async def put_bucket_acl(call: Call) -> Result:
    rules = decision.rules_of(call.place)
    if not rules.has_lists:
        await _accept_what_holds(call)
        return {}
    listed = await _requested(call, rules.owner, rules.owner)
    _check_public(listed, rules)
    text = None if listed == grants.private(rules.owner) else listed.encode()
    await services.of(call).buckets.change_settings(call.place, {decision.ACL: text})
    return {}


async def _accept_what_holds(call: Call) -> None:
    """Take a list that says what holds where lists are disabled.

    Raises:
        Refused: another one.
    """
    if "AccessControlPolicy" in call.params:
        listed = await _requested(call, call.place.owner, call.place.owner)
        if listed != grants.private(call.place.owner):
            raise Refused("AccessControlListNotSupported")
        return
    if not names_list(call.params):
        raise Refused("MissingSecurityHeader")
    _check_disabled(call.params, call.place.owner)


@operation("GetObjectAcl", action=Action.GET_OBJECT_ACL)
async def get_object_acl(call: Call) -> Result:
    store = services.of(call)
    return await _shown(store, await _of_object(call))


async def _of_object(call: Call) -> grants.AccessList:
    marked = await services.of(call).objects.marked(
        call.place.name, call.params["Key"], facets.version_id(call.params)
    )
    rules = decision.rules_of(call.place)
    if not rules.has_lists:
        return grants.private(rules.owner)
    return grants.AccessList.parse(marked.acl) if marked.acl else grants.private(marked.writer)


@operation("PutObjectAcl", action=Action.PUT_OBJECT_ACL, body=Body.DOCUMENT)
async def put_object_acl(call: Call) -> Result:
    store, params = services.of(call), call.params
    owner = (await _of_object(call)).owner
    rules = decision.rules_of(call.place)
    if not rules.has_lists:
        await _accept_what_holds(call)
        return {}
    listed = await _requested(call, owner, rules.owner)
    _check_public(listed, rules)
    await store.objects.set_acl(
        call.place.name, params["Key"], listed.encode(), facets.version_id(params)
    )
    return {}
