"""A process that the crash tests start: `python writer.py MODE URL …`. Each acknowledged write is a line on stdout."""

import os
import resource
import sys
from itertools import count

from genrec.errors import StoreError
from genrec.store.store import Store
from genrec.types import Event, Item

EVENTS_A_CALL = 7


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def write_for_ever(url: str, first: int) -> None:
    """Items and events in turn, from call number `first` on."""
    with Store.open(url) as store:
        for call in count(first):
            if call % 2:
                store.put_items(
                    [Item(item_id=f"{call}.{part}", attributes={f"a{call % 50}": part}) for part in range(EVENTS_A_CALL)]
                )
            else:
                store.add_events([Event(user_id=f"u{call}", item_id=f"{part}", timestamp=call) for part in range(EVENTS_A_CALL)])
            say(f"{call}")


def open_once(url: str) -> None:
    import alembic.command  # noqa: F401 - loaded before the parent's clock starts

    import genrec.store.store  # noqa: F401

    say("ready")
    Store.open(url).close()
    say("opened")


def write_until_the_limit(url: str, limit: int) -> None:
    """Write with a largest file size, until the store refuses; then lift the limit and go on with the same store."""
    with Store.open(url) as store:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        call = 0
        try:
            for call in range(10_000):
                store.put_items([Item(item_id=f"{call}.{part}", text=f"{call}." * 500) for part in range(EVENTS_A_CALL)])
        except StoreError as error:
            say(f"{call} {error.retryable} {error.hint}")
        kept = store.counts().items
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        say(f"{kept} {store.put_items([Item(item_id='after')]).added}")


if __name__ == "__main__":
    mode, where, *rest = sys.argv[1:]
    if mode == "write":
        write_for_ever(where, int(rest[0]))
    elif mode == "open":
        open_once(where)
    else:
        write_until_the_limit(where, int(rest[0]))
