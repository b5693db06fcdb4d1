"""The network without any defense."""

from __future__ import annotations

from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System


class Undefended(System):
    """Standard training."""

    name = "undefended"
    builds_on_undefended = True
    title = "No defense"
    source = "baseline"
    how = "Cross-entropy on clean images."
    weakness = "Every attack."

    def fit(self, setting: Setting) -> Fitted:
        """The undefended network."""
        net = setting.undefended
        return Fitted(net, net, net)
