from tempering.core.protocols import DEFENSES as DEFENSES
from tempering.core.protocols import Detector as Detector
from tempering.core.protocols import Transform as Transform
from tempering.core.protocols import register_defense as register_defense
from tempering.defenses.adversarial_class import AdversarialClass as AdversarialClass
from tempering.defenses.pipeline import Pipeline as Pipeline
from tempering.defenses.squeeze import Squeeze as Squeeze
