"""bathyscope: look under the surface of language models; each claim with the check that could have refuted it.

Names are imported when they are first used: `import bathyscope` loads neither torch nor transformers.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    # Read when torch is loaded. PyTorch's threads wait for its next operation in a loop, and for so long (milliseconds)
    # keep compiled kernels off their cores; after tens of microseconds they are to sleep instead (docs/speed.md).
    os.environ["GOMP_SPINCOUNT"] = "2000"

if TYPE_CHECKING:
    from bathyscope.activations.beside import Adjacent, Beside
    from bathyscope.activations.collect import CollectSettings, collect
    from bathyscope.activations.collect_images import ImageCollectSettings, collect_images
    from bathyscope.activations.images import Images, read_digits
    from bathyscope.activations.packing import Packing
    from bathyscope.activations.pairs.analogies import Analogies
    from bathyscope.activations.pairs.answers import Answers
    from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
    from bathyscope.activations.pairs.counterfactuals import Ask, CounterfactualSettings, write_counterfactuals
    from bathyscope.activations.pairs.draw import draw_pairs
    from bathyscope.activations.pairs.lines import read_pairs
    from bathyscope.activations.pairs.pair import Pair, PairSet, by_transition
    from bathyscope.activations.pairs.parallel import ParallelVerses
    from bathyscope.activations.pairs.sets import pair_set
    from bathyscope.activations.pairs.store import PairStore
    from bathyscope.activations.pairs.template import Template, read_template
    from bathyscope.activations.share import Share
    from bathyscope.activations.store import ActivationStore
    from bathyscope.activations.text import Mixture, Texts
    from bathyscope.activations.through import Through
    from bathyscope.artifacts import verify
    from bathyscope.circuits.alignment import AlignSettings, align
    from bathyscope.circuits.attribution import AttributionSettings, attribute
    from bathyscope.circuits.interchange import Exchanges, exchanges, interchange, intervene
    from bathyscope.circuits.subspace import Site, Subspace, random_subspace, written
    from bathyscope.dictionaries.abs_topk import AbsTopK
    from bathyscope.dictionaries.batch_topk import BatchTopK
    from bathyscope.dictionaries.checkpoint import last_checkpoint
    from bathyscope.dictionaries.collapse import collapse
    from bathyscope.dictionaries.crosscoder import Crosscoder
    from bathyscope.dictionaries.dictionary import Codes, Dictionary, load_dictionary
    from bathyscope.dictionaries.end_to_end import EndToEnd
    from bathyscope.dictionaries.formats.self_check import check_dictionary
    from bathyscope.dictionaries.frozen import Frozen
    from bathyscope.dictionaries.gated import Gated
    from bathyscope.dictionaries.image_encoder import ImageEncoderSettings
    from bathyscope.dictionaries.jumprelu import JumpReLU
    from bathyscope.dictionaries.matryoshka import Matryoshka
    from bathyscope.dictionaries.p_anneal import PAnneal
    from bathyscope.dictionaries.paired import KnownTargets, PairedSettings, SparseChange, load_paired, train_paired
    from bathyscope.dictionaries.pursuit import MatchingPursuit
    from bathyscope.dictionaries.relu import ReLU
    from bathyscope.dictionaries.rules import Pursuit
    from bathyscope.dictionaries.shift import Shift
    from bathyscope.dictionaries.shifts.learn import ShiftOrigin, learn_shifts
    from bathyscope.dictionaries.shifts.pairs import shifts_of
    from bathyscope.dictionaries.shifts.settings import ShiftSettings
    from bathyscope.dictionaries.signs import split_signs
    from bathyscope.dictionaries.solvers.fista import Fista
    from bathyscope.dictionaries.solvers.online_learning import OnlineSettings, learn_online, refine_online
    from bathyscope.dictionaries.solvers.orthogonal_pursuit import OrthogonalPursuit
    from bathyscope.dictionaries.solvers.recode import recode
    from bathyscope.dictionaries.temporal import Temporal
    from bathyscope.dictionaries.topk import TopK
    from bathyscope.dictionaries.train import TrainSettings, train
    from bathyscope.dictionaries.train_many import MemberSettings, train_many
    from bathyscope.dictionaries.transcoder import Transcoder
    from bathyscope.evaluation.absorption import AbsorptionSettings, absorption
    from bathyscope.evaluation.compare import Compared, compare
    from bathyscope.evaluation.completeness import CompletenessSettings, completeness
    from bathyscope.evaluation.concepts import ConceptSettings, find_concepts
    from bathyscope.evaluation.correlation_match import match_factors
    from bathyscope.evaluation.definitions import read_labelled, topic_definitions
    from bathyscope.evaluation.fidelity import FidelitySettings, fidelity
    from bathyscope.evaluation.identifiability.report import identifiability
    from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings, KnownConcepts
    from bathyscope.evaluation.identifiability.supports import support_report
    from bathyscope.evaluation.influence import influence_scores
    from bathyscope.evaluation.labelled import LabelledSet, LabelledText
    from bathyscope.evaluation.languages import LanguageSettings, language_card
    from bathyscope.evaluation.latent_scaling import LatentScaling, latent_scaling
    from bathyscope.evaluation.nulls import random_dictionary
    from bathyscope.evaluation.optimal_codes import OptimalCodesSettings, optimal_codes
    from bathyscope.evaluation.probing import ProbeSettings, probe
    from bathyscope.evaluation.recovery import recovery
    from bathyscope.evaluation.recovery_bench import RecoveryBench, bench_recovery
    from bathyscope.evaluation.shift_bench import ShiftBench, bench_shifts
    from bathyscope.evaluation.splitting import SplittingSettings, splitting
    from bathyscope.evaluation.stability import StabilitySettings, stability, stability_table
    from bathyscope.evaluation.steering.judges.asked import AskedJudge
    from bathyscope.evaluation.steering.judges.likelihood import FluencyJudge, Likelihoods, RelationJudge
    from bathyscope.evaluation.steering.judges.meaning import MeaningJudge
    from bathyscope.evaluation.steering.judges.words import WordsJudge
    from bathyscope.evaluation.steering.rate_trials import Comparison, rate_trials
    from bathyscope.evaluation.steering.side_effects import SideEffectSettings, side_effects
    from bathyscope.evaluation.worlds.adder import AdderSettings, train_adder
    from bathyscope.evaluation.worlds.addition import Addition
    from bathyscope.evaluation.worlds.balls import Balls, BallSettings
    from bathyscope.evaluation.worlds.digits import DigitsSettings, train_digits
    from bathyscope.evaluation.worlds.segments import drawn_digits
    from bathyscope.evaluation.worlds.settings import WorldSettings
    from bathyscope.evaluation.worlds.shifts import ShiftWorld, ShiftWorldSettings
    from bathyscope.evaluation.worlds.world import World
    from bathyscope.explanations.bench import ExplanationBench, bench_explanations
    from bathyscope.explanations.explain import explain
    from bathyscope.explanations.explained import explained
    from bathyscope.explanations.firing_information import FiringInformation
    from bathyscope.explanations.mutual_information import MutualInformation
    from bathyscope.explanations.passages import PassageSettings
    from bathyscope.explanations.scores.half import WordScoreSettings
    from bathyscope.explanations.scores.judged import JudgeSettings, judge_explanations
    from bathyscope.explanations.scores.score_words import score_words
    from bathyscope.explanations.search import search_words
    from bathyscope.explanations.written import WriteSettings, Written, write_explanations
    from bathyscope.features.index import FeatureIndex, index_features
    from bathyscope.features.plane import PlaneSettings, plane
    from bathyscope.features.search import search_activation, search_prompts, search_token
    from bathyscope.features.settings import IndexSettings
    from bathyscope.features.text_search import FeatureText, TextSearch
    from bathyscope.launch.group import joined
    from bathyscope.launch.stages import collect_together, index_together
    from bathyscope.models.generate import generate
    from bathyscope.models.load import load_model
    from bathyscope.models.vision import ImageModel, load_image_model
    from bathyscope.models.visual_words import VisualWords, fit_words
    from bathyscope.models.writers.endpoint import EndpointWriter
    from bathyscope.models.writers.local import LocalWriter
    from bathyscope.planning.plan import plan
    from bathyscope.planning.settings import PlanSettings
    from bathyscope.risk.bench.bench import bench_risk
    from bathyscope.risk.bench.settings import RiskBench
    from bathyscope.risk.budget import Budget
    from bathyscope.risk.estimate import Estimate
    from bathyscope.risk.estimates import read_estimates, write_estimates
    from bathyscope.risk.estimators.auto import Auto
    from bathyscope.risk.estimators.cross_entropy import CrossEntropy
    from bathyscope.risk.estimators.gaussian_margin import GaussianMargin
    from bathyscope.risk.estimators.gradient_sampling import ITGIS
    from bathyscope.risk.estimators.metropolis import MHIS
    from bathyscope.risk.estimators.naive import Naive
    from bathyscope.risk.estimators.paths import Paths
    from bathyscope.risk.estimators.peaks import PeaksOverThreshold
    from bathyscope.risk.estimators.quadratic import QuadraticLogits
    from bathyscope.risk.estimators.split_importance import SplitImportance
    from bathyscope.risk.estimators.splitting import Splitting
    from bathyscope.risk.estimators.steered import Steered
    from bathyscope.risk.events.activation import FeatureAbove, Probe
    from bathyscope.risk.events.logit import ArgmaxIn, ArgmaxToken, LogitMargin, TokenProbability
    from bathyscope.risk.events.sequence import GreedySequence, SampledSequence
    from bathyscope.risk.events.text import Judge, ReadBy, TextMatches, text_matcher
    from bathyscope.risk.features.shuffled import ShuffledCodes
    from bathyscope.risk.forecast import elicitation, forecast
    from bathyscope.risk.inputs.language import Language
    from bathyscope.risk.inputs.pool import Pool, prompt_pool
    from bathyscope.risk.inputs.product import ProductTokens
    from bathyscope.risk.inputs.recipes.code import camel_law, colon_law, if_law
    from bathyscope.risk.inputs.recipes.hexadecimal import hex_law
    from bathyscope.risk.inputs.recipes.positions import count_tokens
    from bathyscope.risk.inputs.recipes.prose import caps_law, english_law, icl_law, spanish_law
    from bathyscope.risk.inputs.slots import Slots
    from bathyscope.risk.law_search import FoundLaw, LawSearch, find_law
    from bathyscope.risk.layerwise.bench import LayerwiseBench, bench_layerwise
    from bathyscope.risk.layerwise.network import Dense, Network
    from bathyscope.risk.layerwise.propagate import propagate
    from bathyscope.risk.layerwise.threshold import threshold_probability
    from bathyscope.risk.layerwise.tilt import tilted
    from bathyscope.risk.many import estimate_many
    from bathyscope.risk.paired import compare_risk, compare_texts
    from bathyscope.risk.problem import Problem, WrittenProblem
    from bathyscope.risk.run import estimate
    from bathyscope.risk.statement.read import read_problem
    from bathyscope.risk.worlds.enumerated import EnumeratedSettings, EnumeratedWorld, make_enumerated
    from bathyscope.risk.worlds.hidden_branch import HiddenBranchSettings, HiddenBranchWorld, make_hidden_branch
    from bathyscope.risk.worlds.truth import Truth
    from bathyscope.risk.worlds.wide import WideSettings, WideWorld, make_wide, open_wide
    from bathyscope.serving.server import Server
    from bathyscope.serving.shelf import open_shelf
    from bathyscope.steering.arm import Arm
    from bathyscope.steering.clause import Clause
    from bathyscope.steering.gates import FeatureGate, ProbeGate
    from bathyscope.steering.influence import InfluenceSettings, influence
    from bathyscope.steering.operations.add import Add
    from bathyscope.steering.operations.affine import Affine
    from bathyscope.steering.operations.amplify import Amplify
    from bathyscope.steering.operations.calibrate import Calibrate
    from bathyscope.steering.operations.cap import Cap
    from bathyscope.steering.operations.clamp import Clamp
    from bathyscope.steering.operations.enforce import Enforce
    from bathyscope.steering.operations.offset import Offset
    from bathyscope.steering.operations.project_out import ProjectOut
    from bathyscope.steering.operations.random_direction import RandomDirection
    from bathyscope.steering.operations.strength import Strength, typical_norm
    from bathyscope.steering.positions import Positions
    from bathyscope.steering.rewrites.paraphrase import ParaphraseSettings, paraphrase
    from bathyscope.steering.rewrites.perturb import Perturb
    from bathyscope.steering.schedules import Decay, Ramp, Toward
    from bathyscope.steering.steer import steer, steer_rows
    from bathyscope.steering.trials import TrialSettings, run_trials
    from bathyscope.studies.defence import DefenceBench, bench_defence
    from bathyscope.studies.detection import DetectionBench, bench_detection
    from bathyscope.studies.hidden_branch import HiddenBranchBench, bench_hidden_branch
    from bathyscope.studies.steering import SteeringBench, bench_steering
    from bathyscope.vectors.contrast import Contrast, ReadSettings, contrast_of_pairs, contrast_of_texts
    from bathyscope.vectors.decoder_row import DecoderRow
    from bathyscope.vectors.denoised import DenoisedDiffMean
    from bathyscope.vectors.diff_mean import DiffMean
    from bathyscope.vectors.exchange import export_vector, load_vector
    from bathyscope.vectors.learn import VectorSettings, learn_vector
    from bathyscope.vectors.logistic import LogisticProbe
    from bathyscope.vectors.multimax import MultiMax
    from bathyscope.vectors.principal_component import PrincipalComponent
    from bathyscope.vectors.reft import ReFTr1
    from bathyscope.vectors.shift_column import ShiftColumn
    from bathyscope.vectors.tomography import Tomography
    from bathyscope.vectors.vector import SteeringVector
    from bathyscope.web.export import export

__version__ = "0.1.0"

_WHERE = {
    "AbsTopK": "bathyscope.dictionaries.abs_topk",
    "AbsorptionSettings": "bathyscope.evaluation.absorption",
    "ActivationStore": "bathyscope.activations.store",
    "Add": "bathyscope.steering.operations.add",
    "AdderSettings": "bathyscope.evaluation.worlds.adder",
    "Addition": "bathyscope.evaluation.worlds.addition",
    "Adjacent": "bathyscope.activations.beside",
    "Affine": "bathyscope.steering.operations.affine",
    "AlignSettings": "bathyscope.circuits.alignment",
    "Amplify": "bathyscope.steering.operations.amplify",
    "Analogies": "bathyscope.activations.pairs.analogies",
    "Answers": "bathyscope.activations.pairs.answers",
    "ArgmaxIn": "bathyscope.risk.events.logit",
    "ArgmaxToken": "bathyscope.risk.events.logit",
    "Arm": "bathyscope.steering.arm",
    "Ask": "bathyscope.activations.pairs.counterfactuals",
    "AskedJudge": "bathyscope.evaluation.steering.judges.asked",
    "AttributionSettings": "bathyscope.circuits.attribution",
    "Auto": "bathyscope.risk.estimators.auto",
    "BallSettings": "bathyscope.evaluation.worlds.balls",
    "Balls": "bathyscope.evaluation.worlds.balls",
    "BatchTopK": "bathyscope.dictionaries.batch_topk",
    "Beside": "bathyscope.activations.beside",
    "Budget": "bathyscope.risk.budget",
    "Calibrate": "bathyscope.steering.operations.calibrate",
    "Cap": "bathyscope.steering.operations.cap",
    "Clamp": "bathyscope.steering.operations.clamp",
    "Clause": "bathyscope.steering.clause",
    "Codes": "bathyscope.dictionaries.dictionary",
    "CollectSettings": "bathyscope.activations.collect",
    "Compared": "bathyscope.evaluation.compare",
    "Comparison": "bathyscope.evaluation.steering.rate_trials",
    "CompletenessSettings": "bathyscope.evaluation.completeness",
    "ConceptSettings": "bathyscope.evaluation.concepts",
    "Contrast": "bathyscope.vectors.contrast",
    "CounterfactualSettings": "bathyscope.activations.pairs.counterfactuals",
    "CrossEntropy": "bathyscope.risk.estimators.cross_entropy",
    "Crosscoder": "bathyscope.dictionaries.crosscoder",
    "Decay": "bathyscope.steering.schedules",
    "DecoderRow": "bathyscope.vectors.decoder_row",
    "DefenceBench": "bathyscope.studies.defence",
    "DenoisedDiffMean": "bathyscope.vectors.denoised",
    "Dense": "bathyscope.risk.layerwise.network",
    "DetectionBench": "bathyscope.studies.detection",
    "Dictionary": "bathyscope.dictionaries.dictionary",
    "DiffMean": "bathyscope.vectors.diff_mean",
    "DigitsSettings": "bathyscope.evaluation.worlds.digits",
    "EndToEnd": "bathyscope.dictionaries.end_to_end",
    "EndpointWriter": "bathyscope.models.writers.endpoint",
    "Enforce": "bathyscope.steering.operations.enforce",
    "EnumeratedSettings": "bathyscope.risk.worlds.enumerated",
    "EnumeratedWorld": "bathyscope.risk.worlds.enumerated",
    "Estimate": "bathyscope.risk.estimate",
    "Exchanges": "bathyscope.circuits.interchange",
    "ExplanationBench": "bathyscope.explanations.bench",
    "FeatureAbove": "bathyscope.risk.events.activation",
    "FeatureGate": "bathyscope.steering.gates",
    "FeatureIndex": "bathyscope.features.index",
    "FeatureText": "bathyscope.features.text_search",
    "FidelitySettings": "bathyscope.evaluation.fidelity",
    "FiringInformation": "bathyscope.explanations.firing_information",
    "Fista": "bathyscope.dictionaries.solvers.fista",
    "FluencyJudge": "bathyscope.evaluation.steering.judges.likelihood",
    "FoundLaw": "bathyscope.risk.law_search",
    "Frozen": "bathyscope.dictionaries.frozen",
    "Gated": "bathyscope.dictionaries.gated",
    "GaussianMargin": "bathyscope.risk.estimators.gaussian_margin",
    "GreedySequence": "bathyscope.risk.events.sequence",
    "HiddenBranchBench": "bathyscope.studies.hidden_branch",
    "HiddenBranchSettings": "bathyscope.risk.worlds.hidden_branch",
    "HiddenBranchWorld": "bathyscope.risk.worlds.hidden_branch",
    "ITGIS": "bathyscope.risk.estimators.gradient_sampling",
    "IdentifiabilitySettings": "bathyscope.evaluation.identifiability.settings",
    "ImageCollectSettings": "bathyscope.activations.collect_images",
    "ImageEncoderSettings": "bathyscope.dictionaries.image_encoder",
    "ImageModel": "bathyscope.models.vision",
    "Images": "bathyscope.activations.images",
    "IndexSettings": "bathyscope.features.settings",
    "InfluenceSettings": "bathyscope.steering.influence",
    "Judge": "bathyscope.risk.events.text",
    "JudgeSettings": "bathyscope.explanations.scores.judged",
    "JumpReLU": "bathyscope.dictionaries.jumprelu",
    "KnownConcepts": "bathyscope.evaluation.identifiability.settings",
    "KnownTargets": "bathyscope.dictionaries.paired",
    "LabelledSet": "bathyscope.evaluation.labelled",
    "LabelledText": "bathyscope.evaluation.labelled",
    "Language": "bathyscope.risk.inputs.language",
    "LanguageSettings": "bathyscope.evaluation.languages",
    "LatentScaling": "bathyscope.evaluation.latent_scaling",
    "LawSearch": "bathyscope.risk.law_search",
    "LayerwiseBench": "bathyscope.risk.layerwise.bench",
    "Likelihoods": "bathyscope.evaluation.steering.judges.likelihood",
    "LocalWriter": "bathyscope.models.writers.local",
    "LogisticProbe": "bathyscope.vectors.logistic",
    "LogitMargin": "bathyscope.risk.events.logit",
    "MHIS": "bathyscope.risk.estimators.metropolis",
    "MatchingPursuit": "bathyscope.dictionaries.pursuit",
    "Matryoshka": "bathyscope.dictionaries.matryoshka",
    "MeaningJudge": "bathyscope.evaluation.steering.judges.meaning",
    "MemberSettings": "bathyscope.dictionaries.train_many",
    "Mixture": "bathyscope.activations.text",
    "MultiMax": "bathyscope.vectors.multimax",
    "MutualInformation": "bathyscope.explanations.mutual_information",
    "Naive": "bathyscope.risk.estimators.naive",
    "Network": "bathyscope.risk.layerwise.network",
    "Offset": "bathyscope.steering.operations.offset",
    "OnlineSettings": "bathyscope.dictionaries.solvers.online_learning",
    "OptimalCodesSettings": "bathyscope.evaluation.optimal_codes",
    "OrthogonalPursuit": "bathyscope.dictionaries.solvers.orthogonal_pursuit",
    "PAnneal": "bathyscope.dictionaries.p_anneal",
    "Packing": "bathyscope.activations.packing",
    "Pair": "bathyscope.activations.pairs.pair",
    "PairSet": "bathyscope.activations.pairs.pair",
    "PairSettings": "bathyscope.activations.pairs.collect",
    "PairStore": "bathyscope.activations.pairs.store",
    "PairedSettings": "bathyscope.dictionaries.paired",
    "ParallelVerses": "bathyscope.activations.pairs.parallel",
    "ParaphraseSettings": "bathyscope.steering.rewrites.paraphrase",
    "PassageSettings": "bathyscope.explanations.passages",
    "Paths": "bathyscope.risk.estimators.paths",
    "PeaksOverThreshold": "bathyscope.risk.estimators.peaks",
    "Perturb": "bathyscope.steering.rewrites.perturb",
    "PlanSettings": "bathyscope.planning.settings",
    "PlaneSettings": "bathyscope.features.plane",
    "Pool": "bathyscope.risk.inputs.pool",
    "Positions": "bathyscope.steering.positions",
    "PrincipalComponent": "bathyscope.vectors.principal_component",
    "Probe": "bathyscope.risk.events.activation",
    "ProbeGate": "bathyscope.steering.gates",
    "ProbeSettings": "bathyscope.evaluation.probing",
    "Problem": "bathyscope.risk.problem",
    "ProductTokens": "bathyscope.risk.inputs.product",
    "ProjectOut": "bathyscope.steering.operations.project_out",
    "Pursuit": "bathyscope.dictionaries.rules",
    "QuadraticLogits": "bathyscope.risk.estimators.quadratic",
    "Ramp": "bathyscope.steering.schedules",
    "RandomDirection": "bathyscope.steering.operations.random_direction",
    "ReFTr1": "bathyscope.vectors.reft",
    "ReLU": "bathyscope.dictionaries.relu",
    "ReadBy": "bathyscope.risk.events.text",
    "ReadSettings": "bathyscope.vectors.contrast",
    "RecoveryBench": "bathyscope.evaluation.recovery_bench",
    "RelationJudge": "bathyscope.evaluation.steering.judges.likelihood",
    "RiskBench": "bathyscope.risk.bench.settings",
    "SampledSequence": "bathyscope.risk.events.sequence",
    "Server": "bathyscope.serving.server",
    "Share": "bathyscope.activations.share",
    "Shift": "bathyscope.dictionaries.shift",
    "ShiftBench": "bathyscope.evaluation.shift_bench",
    "ShiftColumn": "bathyscope.vectors.shift_column",
    "ShiftOrigin": "bathyscope.dictionaries.shifts.learn",
    "ShiftSettings": "bathyscope.dictionaries.shifts.settings",
    "ShiftWorld": "bathyscope.evaluation.worlds.shifts",
    "ShiftWorldSettings": "bathyscope.evaluation.worlds.shifts",
    "ShuffledCodes": "bathyscope.risk.features.shuffled",
    "SideEffectSettings": "bathyscope.evaluation.steering.side_effects",
    "Site": "bathyscope.circuits.subspace",
    "Slots": "bathyscope.risk.inputs.slots",
    "SparseChange": "bathyscope.dictionaries.paired",
    "SplitImportance": "bathyscope.risk.estimators.split_importance",
    "Splitting": "bathyscope.risk.estimators.splitting",
    "SplittingSettings": "bathyscope.evaluation.splitting",
    "StabilitySettings": "bathyscope.evaluation.stability",
    "Steered": "bathyscope.risk.estimators.steered",
    "SteeringBench": "bathyscope.studies.steering",
    "SteeringVector": "bathyscope.vectors.vector",
    "Strength": "bathyscope.steering.operations.strength",
    "Subspace": "bathyscope.circuits.subspace",
    "Template": "bathyscope.activations.pairs.template",
    "Temporal": "bathyscope.dictionaries.temporal",
    "TextMatches": "bathyscope.risk.events.text",
    "TextSearch": "bathyscope.features.text_search",
    "Texts": "bathyscope.activations.text",
    "Through": "bathyscope.activations.through",
    "TokenProbability": "bathyscope.risk.events.logit",
    "Tomography": "bathyscope.vectors.tomography",
    "TopK": "bathyscope.dictionaries.topk",
    "Toward": "bathyscope.steering.schedules",
    "TrainSettings": "bathyscope.dictionaries.train",
    "Transcoder": "bathyscope.dictionaries.transcoder",
    "TrialSettings": "bathyscope.steering.trials",
    "Truth": "bathyscope.risk.worlds.truth",
    "VectorSettings": "bathyscope.vectors.learn",
    "VisualWords": "bathyscope.models.visual_words",
    "WideSettings": "bathyscope.risk.worlds.wide",
    "WideWorld": "bathyscope.risk.worlds.wide",
    "WordScoreSettings": "bathyscope.explanations.scores.half",
    "WordsJudge": "bathyscope.evaluation.steering.judges.words",
    "World": "bathyscope.evaluation.worlds.world",
    "WorldSettings": "bathyscope.evaluation.worlds.settings",
    "WriteSettings": "bathyscope.explanations.written",
    "Written": "bathyscope.explanations.written",
    "WrittenProblem": "bathyscope.risk.problem",
    "absorption": "bathyscope.evaluation.absorption",
    "align": "bathyscope.circuits.alignment",
    "attribute": "bathyscope.circuits.attribution",
    "bench_defence": "bathyscope.studies.defence",
    "bench_detection": "bathyscope.studies.detection",
    "bench_explanations": "bathyscope.explanations.bench",
    "bench_hidden_branch": "bathyscope.studies.hidden_branch",
    "bench_layerwise": "bathyscope.risk.layerwise.bench",
    "bench_recovery": "bathyscope.evaluation.recovery_bench",
    "bench_risk": "bathyscope.risk.bench.bench",
    "bench_shifts": "bathyscope.evaluation.shift_bench",
    "bench_steering": "bathyscope.studies.steering",
    "by_transition": "bathyscope.activations.pairs.pair",
    "camel_law": "bathyscope.risk.inputs.recipes.code",
    "caps_law": "bathyscope.risk.inputs.recipes.prose",
    "check_dictionary": "bathyscope.dictionaries.formats.self_check",
    "collapse": "bathyscope.dictionaries.collapse",
    "collect": "bathyscope.activations.collect",
    "collect_images": "bathyscope.activations.collect_images",
    "collect_pairs": "bathyscope.activations.pairs.collect",
    "collect_together": "bathyscope.launch.stages",
    "colon_law": "bathyscope.risk.inputs.recipes.code",
    "compare": "bathyscope.evaluation.compare",
    "compare_risk": "bathyscope.risk.paired",
    "compare_texts": "bathyscope.risk.paired",
    "completeness": "bathyscope.evaluation.completeness",
    "contrast_of_pairs": "bathyscope.vectors.contrast",
    "contrast_of_texts": "bathyscope.vectors.contrast",
    "count_tokens": "bathyscope.risk.inputs.recipes.positions",
    "draw_pairs": "bathyscope.activations.pairs.draw",
    "drawn_digits": "bathyscope.evaluation.worlds.segments",
    "elicitation": "bathyscope.risk.forecast",
    "english_law": "bathyscope.risk.inputs.recipes.prose",
    "estimate": "bathyscope.risk.run",
    "estimate_many": "bathyscope.risk.many",
    "exchanges": "bathyscope.circuits.interchange",
    "explain": "bathyscope.explanations.explain",
    "explained": "bathyscope.explanations.explained",
    "export": "bathyscope.web.export",
    "export_vector": "bathyscope.vectors.exchange",
    "fidelity": "bathyscope.evaluation.fidelity",
    "find_concepts": "bathyscope.evaluation.concepts",
    "find_law": "bathyscope.risk.law_search",
    "fit_words": "bathyscope.models.visual_words",
    "forecast": "bathyscope.risk.forecast",
    "generate": "bathyscope.models.generate",
    "hex_law": "bathyscope.risk.inputs.recipes.hexadecimal",
    "icl_law": "bathyscope.risk.inputs.recipes.prose",
    "identifiability": "bathyscope.evaluation.identifiability.report",
    "if_law": "bathyscope.risk.inputs.recipes.code",
    "index_features": "bathyscope.features.index",
    "index_together": "bathyscope.launch.stages",
    "influence": "bathyscope.steering.influence",
    "influence_scores": "bathyscope.evaluation.influence",
    "interchange": "bathyscope.circuits.interchange",
    "intervene": "bathyscope.circuits.interchange",
    "joined": "bathyscope.launch.group",
    "judge_explanations": "bathyscope.explanations.scores.judged",
    "language_card": "bathyscope.evaluation.languages",
    "last_checkpoint": "bathyscope.dictionaries.checkpoint",
    "latent_scaling": "bathyscope.evaluation.latent_scaling",
    "learn_online": "bathyscope.dictionaries.solvers.online_learning",
    "learn_shifts": "bathyscope.dictionaries.shifts.learn",
    "learn_vector": "bathyscope.vectors.learn",
    "load_dictionary": "bathyscope.dictionaries.dictionary",
    "load_image_model": "bathyscope.models.vision",
    "load_model": "bathyscope.models.load",
    "load_paired": "bathyscope.dictionaries.paired",
    "load_vector": "bathyscope.vectors.exchange",
    "make_enumerated": "bathyscope.risk.worlds.enumerated",
    "make_hidden_branch": "bathyscope.risk.worlds.hidden_branch",
    "make_wide": "bathyscope.risk.worlds.wide",
    "match_factors": "bathyscope.evaluation.correlation_match",
    "open_shelf": "bathyscope.serving.shelf",
    "open_wide": "bathyscope.risk.worlds.wide",
    "optimal_codes": "bathyscope.evaluation.optimal_codes",
    "pair_set": "bathyscope.activations.pairs.sets",
    "paraphrase": "bathyscope.steering.rewrites.paraphrase",
    "plan": "bathyscope.planning.plan",
    "plane": "bathyscope.features.plane",
    "probe": "bathyscope.evaluation.probing",
    "prompt_pool": "bathyscope.risk.inputs.pool",
    "propagate": "bathyscope.risk.layerwise.propagate",
    "random_dictionary": "bathyscope.evaluation.nulls",
    "random_subspace": "bathyscope.circuits.subspace",
    "rate_trials": "bathyscope.evaluation.steering.rate_trials",
    "read_digits": "bathyscope.activations.images",
    "read_estimates": "bathyscope.risk.estimates",
    "read_labelled": "bathyscope.evaluation.definitions",
    "read_pairs": "bathyscope.activations.pairs.lines",
    "read_problem": "bathyscope.risk.statement.read",
    "read_template": "bathyscope.activations.pairs.template",
    "recode": "bathyscope.dictionaries.solvers.recode",
    "recovery": "bathyscope.evaluation.recovery",
    "refine_online": "bathyscope.dictionaries.solvers.online_learning",
    "run_trials": "bathyscope.steering.trials",
    "score_words": "bathyscope.explanations.scores.score_words",
    "search_activation": "bathyscope.features.search",
    "search_prompts": "bathyscope.features.search",
    "search_token": "bathyscope.features.search",
    "search_words": "bathyscope.explanations.search",
    "shifts_of": "bathyscope.dictionaries.shifts.pairs",
    "side_effects": "bathyscope.evaluation.steering.side_effects",
    "spanish_law": "bathyscope.risk.inputs.recipes.prose",
    "split_signs": "bathyscope.dictionaries.signs",
    "splitting": "bathyscope.evaluation.splitting",
    "stability": "bathyscope.evaluation.stability",
    "stability_table": "bathyscope.evaluation.stability",
    "steer": "bathyscope.steering.steer",
    "steer_rows": "bathyscope.steering.steer",
    "support_report": "bathyscope.evaluation.identifiability.supports",
    "text_matcher": "bathyscope.risk.events.text",
    "threshold_probability": "bathyscope.risk.layerwise.threshold",
    "tilted": "bathyscope.risk.layerwise.tilt",
    "topic_definitions": "bathyscope.evaluation.definitions",
    "train": "bathyscope.dictionaries.train",
    "train_adder": "bathyscope.evaluation.worlds.adder",
    "train_digits": "bathyscope.evaluation.worlds.digits",
    "train_many": "bathyscope.dictionaries.train_many",
    "train_paired": "bathyscope.dictionaries.paired",
    "typical_norm": "bathyscope.steering.operations.strength",
    "verify": "bathyscope.artifacts",
    "write_counterfactuals": "bathyscope.activations.pairs.counterfactuals",
    "write_estimates": "bathyscope.risk.estimates",
    "write_explanations": "bathyscope.explanations.written",
    "written": "bathyscope.circuits.subspace",
}

__all__ = [  # noqa: RUF022 (plain alphabetical order, as a test compares)
    "AbsTopK",
    "AbsorptionSettings",
    "ActivationStore",
    "Add",
    "AdderSettings",
    "Addition",
    "Adjacent",
    "Affine",
    "AlignSettings",
    "Amplify",
    "Analogies",
    "Answers",
    "ArgmaxIn",
    "ArgmaxToken",
    "Arm",
    "Ask",
    "AskedJudge",
    "AttributionSettings",
    "Auto",
    "BallSettings",
    "Balls",
    "BatchTopK",
    "Beside",
    "Budget",
    "Calibrate",
    "Cap",
    "Clamp",
    "Clause",
    "Codes",
    "CollectSettings",
    "Compared",
    "Comparison",
    "CompletenessSettings",
    "ConceptSettings",
    "Contrast",
    "CounterfactualSettings",
    "CrossEntropy",
    "Crosscoder",
    "Decay",
    "DecoderRow",
    "DefenceBench",
    "DenoisedDiffMean",
    "Dense",
    "DetectionBench",
    "Dictionary",
    "DiffMean",
    "DigitsSettings",
    "EndToEnd",
    "EndpointWriter",
    "Enforce",
    "EnumeratedSettings",
    "EnumeratedWorld",
    "Estimate",
    "Exchanges",
    "ExplanationBench",
    "FeatureAbove",
    "FeatureGate",
    "FeatureIndex",
    "FeatureText",
    "FidelitySettings",
    "FiringInformation",
    "Fista",
    "FluencyJudge",
    "FoundLaw",
    "Frozen",
    "Gated",
    "GaussianMargin",
    "GreedySequence",
    "HiddenBranchBench",
    "HiddenBranchSettings",
    "HiddenBranchWorld",
    "ITGIS",
    "IdentifiabilitySettings",
    "ImageCollectSettings",
    "ImageEncoderSettings",
    "ImageModel",
    "Images",
    "IndexSettings",
    "InfluenceSettings",
    "Judge",
    "JudgeSettings",
    "JumpReLU",
    "KnownConcepts",
    "KnownTargets",
    "LabelledSet",
    "LabelledText",
    "Language",
    "LanguageSettings",
    "LatentScaling",
    "LawSearch",
    "LayerwiseBench",
    "Likelihoods",
    "LocalWriter",
    "LogisticProbe",
    "LogitMargin",
    "MHIS",
    "MatchingPursuit",
    "Matryoshka",
    "MeaningJudge",
    "MemberSettings",
    "Mixture",
    "MultiMax",
    "MutualInformation",
    "Naive",
    "Network",
    "Offset",
    "OnlineSettings",
    "OptimalCodesSettings",
    "OrthogonalPursuit",
    "PAnneal",
    "Packing",
    "Pair",
    "PairSet",
    "PairSettings",
    "PairStore",
    "PairedSettings",
    "ParallelVerses",
    "ParaphraseSettings",
    "PassageSettings",
    "Paths",
    "PeaksOverThreshold",
    "Perturb",
    "PlanSettings",
    "PlaneSettings",
    "Pool",
    "Positions",
    "PrincipalComponent",
    "Probe",
    "ProbeGate",
    "ProbeSettings",
    "Problem",
    "ProductTokens",
    "ProjectOut",
    "Pursuit",
    "QuadraticLogits",
    "Ramp",
    "RandomDirection",
    "ReFTr1",
    "ReLU",
    "ReadBy",
    "ReadSettings",
    "RecoveryBench",
    "RelationJudge",
    "RiskBench",
    "SampledSequence",
    "Server",
    "Share",
    "Shift",
    "ShiftBench",
    "ShiftColumn",
    "ShiftOrigin",
    "ShiftSettings",
    "ShiftWorld",
    "ShiftWorldSettings",
    "ShuffledCodes",
    "SideEffectSettings",
    "Site",
    "Slots",
    "SparseChange",
    "SplitImportance",
    "Splitting",
    "SplittingSettings",
    "StabilitySettings",
    "Steered",
    "SteeringBench",
    "SteeringVector",
    "Strength",
    "Subspace",
    "Template",
    "Temporal",
    "TextMatches",
    "TextSearch",
    "Texts",
    "Through",
    "TokenProbability",
    "Tomography",
    "TopK",
    "Toward",
    "TrainSettings",
    "Transcoder",
    "TrialSettings",
    "Truth",
    "VectorSettings",
    "VisualWords",
    "WideSettings",
    "WideWorld",
    "WordScoreSettings",
    "WordsJudge",
    "World",
    "WorldSettings",
    "WriteSettings",
    "Written",
    "WrittenProblem",
    "absorption",
    "align",
    "attribute",
    "bench_defence",
    "bench_detection",
    "bench_explanations",
    "bench_hidden_branch",
    "bench_layerwise",
    "bench_recovery",
    "bench_risk",
    "bench_shifts",
    "bench_steering",
    "by_transition",
    "camel_law",
    "caps_law",
    "check_dictionary",
    "collapse",
    "collect",
    "collect_images",
    "collect_pairs",
    "collect_together",
    "colon_law",
    "compare",
    "compare_risk",
    "compare_texts",
    "completeness",
    "contrast_of_pairs",
    "contrast_of_texts",
    "count_tokens",
    "draw_pairs",
    "drawn_digits",
    "elicitation",
    "english_law",
    "estimate",
    "estimate_many",
    "exchanges",
    "explain",
    "explained",
    "export",
    "export_vector",
    "fidelity",
    "find_concepts",
    "find_law",
    "fit_words",
    "forecast",
    "generate",
    "hex_law",
    "icl_law",
    "identifiability",
    "if_law",
    "index_features",
    "index_together",
    "influence",
    "influence_scores",
    "interchange",
    "intervene",
    "joined",
    "judge_explanations",
    "language_card",
    "last_checkpoint",
    "latent_scaling",
    "learn_online",
    "learn_shifts",
    "learn_vector",
    "load_dictionary",
    "load_image_model",
    "load_model",
    "load_paired",
    "load_vector",
    "make_enumerated",
    "make_hidden_branch",
    "make_wide",
    "match_factors",
    "open_shelf",
    "open_wide",
    "optimal_codes",
    "pair_set",
    "paraphrase",
    "plan",
    "plane",
    "probe",
    "prompt_pool",
    "propagate",
    "random_dictionary",
    "random_subspace",
    "rate_trials",
    "read_digits",
    "read_estimates",
    "read_labelled",
    "read_pairs",
    "read_problem",
    "read_template",
    "recode",
    "recovery",
    "refine_online",
    "run_trials",
    "score_words",
    "search_activation",
    "search_prompts",
    "search_token",
    "search_words",
    "shifts_of",
    "side_effects",
    "spanish_law",
    "split_signs",
    "splitting",
    "stability",
    "stability_table",
    "steer",
    "steer_rows",
    "support_report",
    "text_matcher",
    "threshold_probability",
    "tilted",
    "topic_definitions",
    "train",
    "train_adder",
    "train_digits",
    "train_many",
    "train_paired",
    "typical_norm",
    "verify",
    "write_counterfactuals",
    "write_estimates",
    "write_explanations",
    "written",
]


def __getattr__(name: str) -> Any:
    """The public object `name`, its room imported on first use."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'bathyscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
