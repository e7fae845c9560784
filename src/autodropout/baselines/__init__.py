"""The dropout methods that a found policy is measured against.

Each method has a function on tensors, an ``nn.Module`` twin, and, where it is a point of our pattern
families, a pattern that any policy may hold:

=================== ========================= ================== ======================
method              module                    function           pattern
=================== ========================= ================== ======================
Dropout             ``Dropout``               ``drop_units``     ``dropout``
SpatialDropout      ``SpatialDropout``        ``drop_channels``  ``spatial_dropout``
DropBlock           ``DropBlock``             ``drop_block``     none: it seeds many blocks
Stochastic Depth    ``StochasticDepth``       ``drop_path``      ``stochastic_depth``
Word dropout        ``WordDropout``           ``drop_words``     ``word_dropout``
Variational dropout ``VariationalDropout``    ``drop_features``  ``variational_dropout``
LayerDrop           ``LayerDrop``             ``drop_layer``     none: it passes a layer by
DropAttention       ``DropAttention``         ``drop_attention`` none: it scales by row
=================== ========================= ================== ======================

Functions and modules scale as their papers do (by the expected share kept; DropBlock by the realised
one). Patterns are scaled by Eq. 1, that is by the realised share of the whole mask, and keep the same
masks in distribution. ``on_sites`` puts modules onto a model that is built already, ``on_layers`` does so
with LayerDrop; ``Ramped`` lets the strength of one grow while it trains. ``paper_transformer_finding`` is
what the AutoDropout paper says about its policy for Transformers.
"""

from autodropout.baselines.attention import DropAttention as DropAttention
from autodropout.baselines.attention import drop_attention as drop_attention
from autodropout.baselines.blocks import DropBlock as DropBlock
from autodropout.baselines.blocks import block_drop_rate as block_drop_rate
from autodropout.baselines.blocks import drop_block as drop_block
from autodropout.baselines.coins import Dropout as Dropout
from autodropout.baselines.coins import SpatialDropout as SpatialDropout
from autodropout.baselines.coins import StochasticDepth as StochasticDepth
from autodropout.baselines.coins import VariationalDropout as VariationalDropout
from autodropout.baselines.coins import WordDropout as WordDropout
from autodropout.baselines.coins import drop_channels as drop_channels
from autodropout.baselines.coins import drop_features as drop_features
from autodropout.baselines.coins import drop_path as drop_path
from autodropout.baselines.coins import drop_units as drop_units
from autodropout.baselines.coins import drop_words as drop_words
from autodropout.baselines.coins import linear_decay as linear_decay
from autodropout.baselines.found import paper_transformer_finding as paper_transformer_finding
from autodropout.baselines.layer_drop import LayerDrop as LayerDrop
from autodropout.baselines.layer_drop import drop_layer as drop_layer
from autodropout.baselines.layer_drop import on_layers as on_layers
from autodropout.baselines.placing import Placed as Placed
from autodropout.baselines.placing import on_sites as on_sites
from autodropout.baselines.points import dropout as dropout
from autodropout.baselines.points import spatial_dropout as spatial_dropout
from autodropout.baselines.points import stochastic_depth as stochastic_depth
from autodropout.baselines.points import variational_dropout as variational_dropout
from autodropout.baselines.points import word_dropout as word_dropout
from autodropout.baselines.ramped import Ramped as Ramped
