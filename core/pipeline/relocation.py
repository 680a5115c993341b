"""The record store's way to another place: held still by a freeze, copied, compared, and only then there.

What it leaves is as it was, and stays frozen: nobody goes on writing where nobody looks any more.
"""

from sqlalchemy import select

from core.errors import Conflict
from core.pipeline.freezing import freeze
from core.records.control import ControlStore
from core.records.keycheck import check_keys
from core.records.moving import OnCopied, bring, origin_of, publish, refuse_occupied
from core.records.places import Place
from core.records.tables import store


def relocate(control: ControlStore, place: Place, on_copied: OnCopied = lambda *_: None) -> None:
    """Bring a store to an empty place; ``on_copied(rows, of)`` is told how far it has come.

    Whoever died is followed when this is repeated. Raises ``Conflict`` where the place holds another store, or when the
    present freeze ends by itself; ``IntegrityError`` when a key does not open or the copy differs; ``Unavailable``,
    also while another process does it.
    """
    with control.database.read() as connection:
        refuse_occupied(place, connection.execute(select(store.c.id)).scalar_one())
    with control.place.alone("move", 0):
        for company in control.company_ids():
            check_keys(control, control.records(company))
        frozen = freeze(control).state
        if frozen.frozen_until is not None:
            raise Conflict("the server is frozen for a limited time; run `ostraka unfreeze`, then repeat this")
        # Whoever unfreezes it may write: what was copied until then is of another state.
        origin = origin_of(control, f"frozen at {frozen.frozen_at}")
        bring(origin, place, on_copied)
        publish(origin, place)
