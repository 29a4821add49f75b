"""Search by the server: PostgreSQL counts bits (`bit_count`, from version 14 on)."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fpbench.api import SpecError
from fpbench.users.rows import Model
from fpbench.users.search import Found

# A code is kept as bytes, since models differ in K; bits are cast from hexadecimal digits.
_NEAREST = """
SELECT number, bit_count(('x' || encode(code, 'hex'))::bit({bits}) # CAST(:reading AS bit({bits})))
FROM code WHERE model_id = :model ORDER BY 2, 1 LIMIT :k
"""


def nearest(connection: sa.Connection, model: Model, readings: NDArray[np.bool_], k: int) -> Found:
    """The same as `fpbench.users.search.nearest` among all codes of a model.

    Raises:
        SpecError: the readings are not of its length.
    """
    if readings.ndim != 2 or readings.shape[1] != model.bits:
        text = f"expected readings (N, {model.bits}), got {readings.shape}"
        raise SpecError([f"model {model.name}: {text}"])
    number = np.full((len(readings), k), -1, np.int64)
    match = np.full((len(readings), k), -1, np.int64)
    wide = 8 * -(-model.bits // 8)
    query = sa.text(_NEAREST.format(bits=wide))
    for row, reading in enumerate(np.packbits(readings, axis=1)):
        asked = {"reading": f"x{reading.tobytes().hex()}", "model": model.identity, "k": k}
        for place, (found, distance) in enumerate(connection.execute(query, asked)):
            number[row, place], match[row, place] = found, model.bits - distance
    return Found(number, match)
