"""Where inputs become commits: images fetched, inputs applied, rows written, for many runs at once.

The fast way takes the images as they are, works everything out and writes it in one call; runs that another process
has moved on are left alone by it. Those go the sure way: under their locks they are brought up to date, worked out and
written. What still cannot be written is tried input by input, so that one bad row, or one late answer, hurts only
itself.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from highway_core.engine.durable.driver import Driver
from highway_core.engine.durable.image import Image
from highway_core.engine.durable.inputs import LATE_ANSWERS, Answer, Input, Message, Work
from highway_core.engine.durable.replay import NeedsReloadError
from highway_core.engine.durable.services import StopScopes
from highway_core.engine.durable.values import LargeResults
from highway_core.errors import ConnectionLostError, DocumentError, RunNotFoundError, StorageError
from highway_core.persistence.transition_store import Claim, Loaded, Row, Wish, Written

logger = logging.getLogger("HighwayWorker")

_MOST_IMAGES = 2_000
_MOST_BYTES = 160_000_000
"""About what all images may take; what the heaviest one leaves of it is the others', a quarter in any case."""
_CONTENDED_FOR = 20
"""How many commits of a run go the sure way after another process was seen to work on it."""

Inputs = Mapping[str, Sequence[Input]]


class Desk:
    """The images of a process and their commits. One thread calls it."""

    def __init__(self, driver: Driver, scopes: StopScopes) -> None:
        self._driver = driver
        self._store = driver.store
        self._scopes = scopes
        self._large = LargeResults(driver.durable.read_result)
        self._weights: OrderedDict[str, int] = OrderedDict()
        """Of the images, the one that was used last last."""
        self._weight = 0
        """The sum of them."""
        self.undone: dict[str, Sequence[Input]] = {}
        """Of the inputs given last, those of which it is not known that they are committed."""
        self._wish: Wish | None = None
        self._claims: list[Claim] | None = None

    def process(self, inputs: Inputs, versions: Mapping[str, int], wish: Wish | None = None) -> list[Claim] | None:
        """Apply and commit everything. ``versions``: what the claims say of the versions of their runs.

        What was claimed together with the commit, if there was a ``wish`` and a commit.

        ConnectionLostError if it is not known whether it was committed: what is ``undone`` may be given again.
        """
        self._driver.begin_turn(sum(isinstance(one, Work) for given in inputs.values() for one in given))
        self.undone = dict(inputs)
        self._wish, self._claims = wish, None
        try:
            left = self._fast(inputs, versions)
            for run_id in left:
                self._sure(run_id, inputs[run_id])
        finally:
            self.forget(self.undone)  # it is not known any more whether they are true
            self._shrink()
        self._report()
        return self._claims

    def operate(self, run_id: str, deed: Input, first: Callable[[], None] | None = None) -> None:
        """Carry out one deed under the run's lock, ``first`` something else in the same transaction; what either raises
        comes through, and nothing is changed."""
        try:
            with self._store.transaction():
                if first is not None:
                    first()
                refused = self._under_lock({run_id: [deed]})
            self._settled([run_id], refused)
        except BaseException:
            self.forget([run_id])
            raise
        finally:
            self._shrink()

    def forget(self, run_ids: Mapping[str, object] | Sequence[str]) -> None:
        """Throw images away."""
        for run_id in run_ids:
            image = self._driver.images.pop(run_id, None)
            self._weight -= self._weights.pop(run_id, 0)
            if image is not None:
                image.dispose()

    def _fast(self, inputs: Inputs, versions: Mapping[str, int]) -> list[str]:
        """The runs that are still to be done."""
        left, direct = self._bring_up(inputs, versions)
        there = [run_id for run_id in direct if run_id in self._driver.images]
        try:
            refused = self._write({run_id: inputs[run_id] for run_id in there})
        except ConnectionLostError:
            raise
        except StorageError as error:
            logger.info("a commit of %d runs was refused and is made run by run: %s", len(there), error)
            refused = set(there)
        for run_id in direct:
            if run_id not in refused:
                del self.undone[run_id]
        self.forget(list(refused))
        self._driver.contended.update(dict.fromkeys(refused, _CONTENDED_FOR))
        return [*left, *refused]

    def _bring_up(self, inputs: Inputs, versions: Mapping[str, int]) -> tuple[list[str], list[str]]:
        """Which runs go the sure way and which the fast one; the images of the latter are as new as their claims."""
        left: list[str] = []
        direct: list[str] = []
        outdated: dict[str, int] = {}
        for run_id, given in inputs.items():
            image = self._driver.images.get(run_id)
            if (image is not None and image.contended) or any(one.needs_lock for one in given):
                left.append(run_id)
                continue
            direct.append(run_id)
            new = _new_run(given) if image is None else None
            if new is not None:
                self._take_in(run_id, Loaded({run_id: new}, {}, {}, {}))
            elif image is None or versions.get(run_id, -1) > image.version:
                outdated[run_id] = -1 if image is None else image.version
        if outdated:
            self._refresh(outdated, lock=False)
        return left, direct

    def _sure(self, run_id: str, inputs: Sequence[Input]) -> None:
        if len(inputs) == 1 or not self._together(run_id, inputs):
            for number, one in enumerate(inputs, 1):
                self._alone(run_id, one)
                self.undone[run_id] = inputs[number:]
        del self.undone[run_id]

    def _together(self, run_id: str, inputs: Sequence[Input]) -> bool:
        try:
            return not self._locked({run_id: inputs}) or not self._locked({run_id: self._still_claimed(inputs)})
        except ConnectionLostError:
            raise
        except StorageError as error:
            logger.info("a commit of run '%s' was refused and is made input by input: %s", run_id, error)
            self.forget([run_id])
            return False

    def _still_claimed(self, inputs: Sequence[Input]) -> Sequence[Input]:
        """Those whose leases have not been lost, so that one that has spoils nobody else's commit."""
        leases = [one.lease for one in inputs if one.lease is not None]
        lost = {*leases} - self._store.held(leases)
        self._driver.late_answers += sum(isinstance(one, Answer) for one in inputs if one.lease in lost)
        return [one for one in inputs if one.lease not in lost]

    def _alone(self, run_id: str, one: Input) -> None:
        try:
            if self._locked({run_id: [one]}) and isinstance(one, Answer):
                self._driver.late_answers += 1
        except ConnectionLostError:
            raise
        except StorageError as error:
            self.forget([run_id])
            self._instead(run_id, one, error)

    def _instead(self, run_id: str, one: Input, error: StorageError) -> None:
        """What is done if an input cannot be stored: its claim must not be kept for ever, nor end the worker."""
        instead = one.spoiled(str(error))
        try:
            if instead is not None:
                self._locked({run_id: [instead]})
                return
        except ConnectionLostError:
            raise
        except StorageError as another:
            error = another
            self.forget([run_id])
        logger.error("run '%s' cannot take note of %s, whose claim lapses: %s", run_id, type(one).__name__, error)

    def _locked(self, inputs: Inputs) -> set[str]:
        """Under the locks of the runs; the ids of those that were refused all the same: a claim was lost."""
        with self._store.transaction():
            refused = self._under_lock(inputs)
        self._settled(inputs, refused)
        return refused

    def _under_lock(self, inputs: Inputs) -> set[str]:
        images = self._driver.images
        self._refresh({run_id: images[run_id].version if run_id in images else -1 for run_id in inputs}, lock=True)
        gone = [run_id for run_id in inputs if run_id not in images]
        if gone and any(one.needs_lock for one in inputs[gone[0]]):
            raise RunNotFoundError(f"There is no run '{gone[0]}'.")
        return self._write({run_id: inputs[run_id] for run_id in inputs if run_id in images}, launch=False)

    def _settled(self, run_ids: Iterable[str], refused: set[str]) -> None:
        """The transaction has gone through."""
        self._launch([run_id for run_id in run_ids if run_id not in refused])
        self.forget(list(refused))

    def _refresh(self, known: Mapping[str, int], *, lock: bool) -> None:
        """Bring images up to date, or make them; a run that is not there gets none."""
        loaded = self._store.load(known, lock=lock)
        again: dict[str, int] = {}
        for run_id in known:
            if run_id not in loaded.runs:
                self.forget([run_id])
                continue
            try:
                self._take_in(run_id, loaded)
            except NeedsReloadError:
                self.forget([run_id])
                again[run_id] = -1
        if again:
            whole = self._store.load(again, lock=lock)
            for run_id in again:
                self._take(run_id, whole)

    def _take_in(self, run_id: str, loaded: Loaded) -> None:
        """Make the image, or bring it up to date, unless this process cannot carry the run out."""
        try:
            self._take(run_id, loaded)
        except ConnectionLostError:
            raise
        except (DocumentError, StorageError) as error:
            logger.error("run '%s' cannot be carried out here, its claims lapse: %s", run_id, error)
            self.forget([run_id])

    def _take(self, run_id: str, loaded: Loaded) -> None:
        row = loaded.runs[run_id]
        image = self._driver.images.get(run_id)
        if image is None:
            compiled = self._driver.durable.definitions.by_hash(row["hash"], self._store)
            image = Image(row, compiled, self._driver, self._large)
            self._driver.images[run_id] = image
            self._driver.make_keys(image)
            image.contended = self._driver.contended.pop(run_id, 0)
        elif image.contended and row["v"] != image.version:
            image.contended = _CONTENDED_FOR  # somebody else is still at work on it
        tasks = loaded.tasks.get(run_id, [])
        image.take(row, tasks, loaded.memory.get(run_id, []), loaded.children.get(run_id, []))
        for path, scope in self._scopes(run_id):
            instance = image.instance(path)
            if instance is not None:
                instance.stop = scope
        self._weigh(run_id)

    def _write(self, inputs: Inputs, *, launch: bool = True) -> set[str]:
        """Apply, settle and commit; the ids of the runs that were refused."""
        written: list[Written] = []
        for run_id, given in inputs.items():
            image = self._driver.images[run_id]
            for one in given:
                one.apply(self._driver, image)
            self._driver.settle(image)
            if not image.changes.empty:
                own, sections = image.changes.rows(image.version)
                written.append(Written(own, sections, image.changes.rare))
        if not written:
            refused: set[str] = set()
        elif launch:
            refused, self._claims = self._store.commit(written, self._wish, max(0, self._driver.places))
        else:
            refused, _ = self._store.commit(written)
        for row in written:
            run_id = row.own["r"]
            if run_id not in refused:
                self._driver.images[run_id].committed()
                self._weigh(run_id)
        if launch:
            self._launch([run_id for run_id in inputs if run_id not in refused])
        return refused

    def _launch(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            image = self._driver.images.get(run_id)
            if image is None:
                continue
            launches, image.launches = image.launches, []
            for launch in launches:
                launch()
            if image.run.is_over:
                self._driver.services.runner.release(run_id)
                self._driver.ended.append(run_id)
                self.forget([run_id])
            else:
                self._weights.move_to_end(run_id)

    def _report(self) -> None:
        late, self._driver.late_answers = self._driver.late_answers, 0
        if late:
            logger.warning("refused %d late answers: their leases were lost, or they are stored already", late)
            self._store.count(LATE_ANSWERS, late)

    def _weigh(self, run_id: str) -> None:
        """The image may have become heavier, or lighter."""
        weight = self._driver.images[run_id].weight
        self._weight += weight - self._weights.get(run_id, 0)
        self._weights[run_id] = weight

    def _shrink(self) -> None:
        """Forget the images that were used longest ago if there are too many, or they are too heavy."""
        if len(self._weights) <= _MOST_IMAGES and self._weight <= _MOST_BYTES:
            return
        most = max(_MOST_BYTES, max(self._weights.values()) + _MOST_BYTES // 4)
        while len(self._weights) > _MOST_IMAGES or self._weight > most:
            self.forget([next(iter(self._weights))])


def _new_run(inputs: Sequence[Input]) -> Row | None:
    """The row of a run that has just been created, if that is what the inputs are about."""
    claims = [one.claim for one in inputs if isinstance(one, Work | Message)]
    if any(claim.version for claim in claims):
        return None  # the message that begins it is given again: it went through the first time
    return next((claim.run for claim in claims if claim.run is not None), None)
