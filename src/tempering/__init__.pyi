from tempering import attacks as attacks
from tempering import data as data
from tempering import defenses as defenses
from tempering import models as models
from tempering import poisoning as poisoning
from tempering import systems as systems
from tempering import training as training
from tempering.app.attack import attack as attack
from tempering.app.benchmark import benchmark as benchmark
from tempering.app.certify import certify as certify
from tempering.app.compare import compare_runs as compare_runs
from tempering.app.evaluate import evaluate as evaluate
from tempering.app.harden import harden as harden
from tempering.app.harden import resume as resume
from tempering.app.poison import poison as poison
from tempering.app.recorded_benchmark import recorded_benchmark as recorded_benchmark
from tempering.app.reproduce import reproduce as reproduce
from tempering.app.scan_model import scan_model as scan_model
from tempering.app.uncertainty import uncertainty as uncertainty
from tempering.core.errors import TemperingError as TemperingError
from tempering.core.patches import Patch as Patch
from tempering.core.threats import L0 as L0
from tempering.core.threats import L1 as L1
from tempering.core.threats import L2 as L2
from tempering.core.threats import Linf as Linf
from tempering.core.threats import parse_threat as parse_threat

__version__: str
