"""A provider's own rules over REST: POST, GET and DELETE /policies. docs/pipeline.md describes the bodies.

Takes a policy when it is valid, saved and on its way to the switches; what it means is policy/rules.py's business.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from controllers import sdn
from controllers.northbound.access import own_namespace
from controllers.northbound.answers import json_response, refused
from controllers.northbound.policy_report import report, unconfirmed
from controllers.northbound.read import names_of
from controllers.policy.book import Book, NameTaken, added
from controllers.policy.file import PolicyStore
from controllers.policy.rules import NotYours, Policy, PolicyError
from controllers.switch.crew import Confirmation, Crew

LOG = logging.getLogger("controllers.policy.rules")


class Policies:
    """The policies of this controller: in its memory, in its file and on the switches."""

    def __init__(self, crew: Crew, store: PolicyStore) -> None:
        self._crew, self._store = crew, store
        self.book: Book = store.load()
        crew.fleet.set_policies(self.book)

    def add(self, body: Any, own: str | None = None) -> tuple[Policy, Confirmation]:
        """The policy, and whether the switches have confirmed it. `own`: it comes from this namespace.

        PolicyError, NotYours or NameTaken where it is wrong, OSError where it cannot be saved: nothing has changed.
        """
        policy = added(self.book, body, own)
        return policy, self._replace({**self.book, policy.name: policy})

    def remove(self, name: str, own: str | None = None) -> Confirmation:
        """Whether the switches have confirmed it. KeyError where there is none; OSError as above."""
        if name not in self.names(own):
            raise KeyError(name)
        policies = dict(self.book)
        del policies[name]
        return self._replace(policies)

    def namespace_gone(self, namespace: str) -> None:
        """What a tenant has ordered goes with its namespace: another of the same name is somebody else's.

        An operator's rules stay. Where they cannot be saved, the file keeps the tenant's until the next change.
        """
        left = {name: one for name, one in self.book.items() if one.operator or one.namespace != namespace}
        if len(left) == len(self.book):
            return
        LOG.info("the policies of namespace %s went with it: %s", namespace, ", ".join(self.book.keys() - left.keys()))
        self.book = left
        self._crew.fleet.set_policies(left)
        try:
            self._store.save(left)
        except OSError as error:
            LOG.warning("the policies cannot be saved (%s)", error.strerror)

    def _replace(self, policies: Book) -> Confirmation:
        self._store.save(policies)
        self.book = policies  # before anything lets another request run
        return self._crew.set_policies(policies)

    def names(self, own: str | None = None) -> list[str]:
        """The policies that there are, or that this namespace may see and remove: those that are not an operator's."""
        visible = (one for one in self.book.values() if own is None or (one.namespace == own and not one.operator))
        return [policy.name for policy in visible]

    def report(self, names: list[str]) -> list[dict[str, Any]]:
        """The policies named, with what each does now and what it has counted."""
        crew, generator = self._crew, self._crew.fleet.generator
        wanted = [policy for name, policy in self.book.items() if name in names]
        return report(wanted, generator.policies, generator.index, names_of(crew), crew.readings(), crew.in_force)


class PolicyRoutes(sdn.ControllerBase):
    """One object a request, as ryu has it; the policies come with the registration."""

    def __init__(self, req: Any, link: Any, data: dict[str, Any], **config: Any) -> None:
        super().__init__(req, link, data, **config)
        self._policies: Policies = data["policies"]

    @sdn.route("policies", "/policies", methods=["GET"])
    def index(self, req: Any, **_: Any) -> Any:
        return json_response({"policies": self._policies.report(self._policies.names(own_namespace(req)))})

    @sdn.route("policies", "/policies", methods=["POST"])
    def add(self, req: Any, **_: Any) -> Any:
        try:
            policy, confirmed = self._policies.add(json.loads(req.body), own_namespace(req))
        except NameTaken as error:
            return refused(str(error), 409)
        except NotYours as error:
            return refused(str(error), 403)
        except PolicyError as error:
            return refused(str(error), 400)
        except (ValueError, RecursionError) as error:
            return refused(f"the body is not JSON, or too deep: {error}", 400)
        except OSError as error:
            return refused(f"the policy cannot be saved ({error.strerror}), so it is not taken; free some space", 500)
        LOG.info("policy %s added: %s", policy.name, policy)
        return _taken(self._policies.report([policy.name])[0], confirmed, 201)

    @sdn.route("policies", "/policies/{name}", methods=["GET"])
    def one(self, req: Any, name: str, **_: Any) -> Any:
        names = self._policies.names(own_namespace(req))
        return json_response(self._policies.report([name])[0]) if name in names else self._unknown(name, names)

    @sdn.route("policies", "/policies/{name}", methods=["DELETE"])
    def remove(self, req: Any, name: str, **_: Any) -> Any:
        try:
            confirmed = self._policies.remove(name, own_namespace(req))
        except KeyError:
            return self._unknown(name, self._policies.names(own_namespace(req)))
        except OSError as error:
            return refused(f"the removal cannot be saved ({error.strerror}), so the policy stays; free some space", 500)
        LOG.info("policy %s removed", name)
        return _taken({"removed": name}, confirmed, 200)

    def _unknown(self, name: str, names: list[str]) -> Any:
        return refused(f"there is no policy {name}; there are: {', '.join(names) or 'none'}", 404)


def _taken(body: dict[str, Any], confirmed: Confirmation, status: int) -> Any:
    if confirmed.is_complete:
        return json_response(body, status)
    return json_response({**body, "state": f"taken; {unconfirmed(confirmed)}"}, 202)
