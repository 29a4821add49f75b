"""The issued codes, and the part of the code space that no training ever sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fpbench.api import Code, ContractError, derive_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fpbench.spec import Suite, SuiteMethod

    Codes = NDArray[np.bool_]

_MAX_ATTEMPTS = 10_000
_RESERVED = 7  # a code is reserved when the last three bits of its hash are zero: 1/8


def is_reserved(codes: Codes) -> NDArray[np.bool_]:
    """(N,) bool: which of the (N, K) codes are reserved for issued copies (1 in 8, by hash)."""
    import numpy as np

    packed = np.packbits(np.asarray(codes, dtype=bool), axis=1)
    padded = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    words = padded.view("<u8")
    hashed = np.full(len(words), codes.shape[1], dtype=np.uint64)
    for column in words.T:
        hashed = _mix(hashed ^ column)
    return np.asarray((hashed & np.uint64(_RESERVED)) == 0)


def book_of(code: Code[Any], bits: int, suite_seed: int) -> Mapping[str, NDArray[Any]]:
    """What all codes of K bits of a suite share."""
    import numpy as np

    return code.book(bits, np.random.default_rng(derive_seed(suite_seed, "book", bits)))


def users_codes(method: SuiteMethod, suite: Suite, users: int) -> Codes:
    """(users, K) bool codes of a method's users: those that were given, else `issued_codes`.

    Raises:
        ContractError: they cannot be had.
    """
    import numpy as np

    component = method.component
    given = component.given_codes(suite.host, users, suite.population.images)
    if given is None:
        return issued_codes(method.code, component.bits, suite.header.seed, users)
    if given.shape != (users, component.bits) or given.dtype != bool:
        raise ContractError(
            f"method {method.label}: expected given_codes to return bool "
            f"({users}, {component.bits}), got {given.dtype} {given.shape}"
        )
    return np.ascontiguousarray(given)


def issued_codes(code: Code[Any], bits: int, suite_seed: int, users: int) -> Codes:
    """(users, K) distinct reserved codes; that of user u does not depend on how many there are.

    Every method with the same kind of codes and the same K meets the same ones.

    Raises:
        ContractError: `draw` returns something else than bool codes, or never a new one.
    """
    import numpy as np

    book = book_of(code, bits, suite_seed)
    issued: list[NDArray[np.bool_]] = []
    seen: set[bytes] = set()
    for user in range(users):
        drawn = _candidates(code, book, bits, suite_seed, user)
        own = next((c for c in drawn if c.tobytes() not in seen), None)
        if own is None:
            raise ContractError(
                f"codes {code.name}: expected draw to give a new reserved code for user {user}, "
                f"got none in {_MAX_ATTEMPTS} draws; {bits} bits may be too few for {users} copies"
            )
        seen.add(own.tobytes())
        issued.append(own)
    return np.stack(issued)


def _candidates(
    code: Code[Any], book: Mapping[str, NDArray[Any]], bits: int, suite_seed: int, user: int
) -> Iterator[NDArray[np.bool_]]:
    import numpy as np

    for attempt in range(_MAX_ATTEMPTS // 64):
        seed = derive_seed(suite_seed, "code", bits, user, attempt)
        codes = code.draw(bits, 64, np.random.default_rng(seed), book)
        if codes.shape != (64, bits) or codes.dtype != bool:
            raise ContractError(
                f"codes {code.name}: expected draw to return bool (64, {bits}), got {codes.dtype} "
                f"{codes.shape}"
            )
        yield from codes[is_reserved(codes)]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # splitmix64 (Steele, Lea and Flood 2014); unsigned arithmetic wraps on purpose.
    import numpy as np

    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
