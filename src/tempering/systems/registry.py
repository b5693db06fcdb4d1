"""The systems by name, in the order of the table."""

from __future__ import annotations

from tempering.core.registry import Registry
from tempering.systems.adversarial_training import Madry, TradesTraining
from tempering.systems.ai_guardian import AIGuardian
from tempering.systems.anti_adversarial import AntiAdversarial
from tempering.systems.retraining import Ours, PaperRetraining
from tempering.systems.single_pass import SinglePassTraining
from tempering.systems.system import System
from tempering.systems.undefended import Undefended

SYSTEMS: Registry[System] = Registry("system")
"""Name -> system."""

for _system in (
    Undefended(),
    SinglePassTraining(),
    Madry(),
    TradesTraining(),
    PaperRetraining(),
    Ours(),
    AIGuardian(),
    AntiAdversarial(),
):
    SYSTEMS.register(_system.name)(_system)
