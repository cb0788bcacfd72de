"""The kernel's own batches: the fallback, and the reference that the GPUs are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cwts.gpu.base import ANSWERS, checked
from cwts.kernel import layout, network_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ((0, slice(0, 2)), (1, slice(2, 4)), (2, slice(4, 5)))


class SimdNetworks:
    """The three networks on the processor."""

    name = "SIMD"

    def run(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of sixteen features to rows of five answers; a network that is not there says 0."""
        checked(weights, features)
        answers = np.zeros((len(features), ANSWERS), np.float32)
        networks = np.frombuffer(weights, layout.NETWORK)
        for index, columns in COLUMNS:
            if networks[index]["version"]:
                answers[:, columns] = network_batch(networks[index].tobytes(), features)
        return answers
