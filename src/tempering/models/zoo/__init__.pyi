from tempering.core.zoo_records import Card as Card
from tempering.models.zoo.entries import card as card
from tempering.models.zoo.entries import cards as cards
from tempering.models.zoo.entries import names as names
from tempering.models.zoo.loading import load as load
