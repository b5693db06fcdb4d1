"""The systems by name, in the order of the table."""

from __future__ import annotations

from tempering.core.registry import Registry
from tempering.systems.adversarial_training import Madry, TradesTraining
from tempering.systems.ai_guardian import AIGuardian
from tempering.systems.anti_adversarial import AntiAdversarial
from tempering.systems.attacker_defender import AttackerDefender
from tempering.systems.detection import MLFilter, ProtectionLayer
from tempering.systems.fgsm_study import FGSMStudy
from tempering.systems.input_manipulation import InputManipulation, InputManipulationVGG
from tempering.systems.retraining import Ours, PaperRetraining
from tempering.systems.single_pass import SinglePassTraining
from tempering.systems.system import System
from tempering.systems.undefended import Undefended

SYSTEMS: Registry[System] = Registry("system")
"""Name -> system."""

for _system in (
    Undefended(),
    FGSMStudy(),
    SinglePassTraining(),
    Madry(),
    TradesTraining(),
    PaperRetraining(),
    Ours(),
    ProtectionLayer(),
    MLFilter(),
    InputManipulation(),
    InputManipulationVGG(),
    AIGuardian(),
    AttackerDefender(),
    AntiAdversarial(),
):
    SYSTEMS.register(_system.name)(_system)
