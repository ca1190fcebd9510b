"""The contract, tried by a matrix: every public function with every kind of wrong argument.

For each there is one call that works. Then each of its arguments is replaced, one at a time, by
each of the values below. What comes back is an error of the contract, which says what came and
what was expected; or the value is taken, and then :data:`TAKEN` or the argument's annotation says
that this is right.
"""

import contextlib
import functools
import importlib
import inspect
import io
import math
import pkgutil
import re
import tempfile
import types
import warnings
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import aebook
from aebook import bottlenecks, distances, live, networks, variants
from aebook.applications import (
    compression,
    images,
    molecules,
    popularity,
    retrieval,
    translation,
)
from aebook.applications.compression import bits_back
from aebook.boltzmann import RBM
from aebook.theory import linear, score

# a selector of two epochs says that it is not sure
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quantiz.*"),
]

# every public function, class and method once, by the module that it is written in
MODULES = [
    importlib.import_module(info.name)
    for info in pkgutil.walk_packages(aebook.__path__, prefix="aebook.")
]
OBJECTS = [
    thing
    for module in MODULES
    for thing in map(module.__dict__.get, module.__all__)
    if inspect.isfunction(thing) or inspect.isclass(thing)
]
METHODS = [
    getattr(thing, name)
    for thing in OBJECTS
    if inspect.isclass(thing)
    for name, value in vars(thing).items()
    if isinstance(value, types.FunctionType | classmethod) and not name.startswith("_")
]
PUBLIC = {
    f"{thing.__module__}.{thing.__qualname__}".removeprefix("aebook."): thing
    for thing in (*OBJECTS, *METHODS)
}

#: What needs no entry: the reason, and which they are.
EXEMPT = {
    "machinery that no user names": (
        r"theory\.likelihood\.(draws|posterior_of|weighted_bound)$|"
        r"_internal\.|processes\.|data\.|inference\.(in_pieces|evaluating)$|training\.reach\.|core\.check_weighable$|training\.history\.Mean"
        r"|training\.(checkpoints|fingerprint)\.|applications\.anomaly\.posteriors\."
        r"|estimators\.network\.|hashing\.check_"
        r"|storage\.architecture\.|datasets\.verified\.|core\.(check_term|trainable|Objective\.(penalised|decoded))$"
        r"|training\.(captured|optimisers|progress)\.|live\.network\."
        r"|recurrent\.message_lengths$"
        r"|(networks\.Chain|boltzmann\.rbm\.RBM)\.check$"
    ),
    "takes no arguments": (
        r".*\.(arguments|extra_repr)$|bottlenecks\.TopK\.now$|bottlenecks\.Gaussian$|recurrent\.Writer$"
        r"|bottlenecks\.Posterior\.(sample|kl)$|datasets\..*\.(electrocardiogram|hanzi|nouns|online_news|satellite)$"
    ),
    "a result, whose fields nobody gives": (
        r".*\.(Decomposition|Found|Neighbours|Recalled|Scores|Properties|SampleQuality|Interval"
        r"|Window|Estimate|PrecisionRecall|IntrinsicDimension|Record|Loss|Pass|Posterior|Glosses"
        r"|Images|Nouns|Posts|Segments|Series|Table|LinearHasher|PrincipalComponents|MaskedMap|LinearDenoiser"
        r"|History|History\.append|Lengths|Live)$|.*rate_distortion\.Curve$"
    ),
    "runs in every step of training, on what the model gives it": (
        r"(bottlenecks|networks|sparse|distances|concrete|recurrent)\.[A-Z]\w+\."
        r"(forward|keep|in_use|layers|right_inverse|posterior|log_ratio|probabilities)$|training\.schedules\."
        r"|core\.(averaged|check_objective)$|penalties\.(kl_to_prior|weight_decay)$|boltzmann\.units\.|sparse\.sparse_linear$"
        r"|applications\.translation\.transformer\.[A-Z]\w+\.forward$"
        r"|applications\.compression\.(transform\.)?(rate$|[A-Z]\w+\."
        r"(forward|noisy|probability|bits|start)$)"
    ),
}


@functools.cache
def data():
    return torch.rand(8, 6, generator=torch.Generator().manual_seed(0))


def plain(**options):
    return variants.plain((6, 4, 2), **options)


@functools.cache
def trained():
    return plain().model.eval()


@functools.cache
def binary_vae():
    torch.manual_seed(0)
    return variants.variational((6, 4, 2)).eval()


@functools.cache
def vae():
    torch.manual_seed(0)
    return variants.variational((6, 4, 2), distance=distances.Gaussian(), output=None).eval()


@functools.cache
def affine():
    return variants.linear((6, 2)).model.eval()


@functools.cache
def photograph():
    return np.random.default_rng(0).random((24, 24))


SMILES = ["CCO", "c1ccccc1", "CC(=O)O"]
ALPHABET = molecules.Alphabet.of(SMILES)


@functools.cache
def writer():
    torch.manual_seed(0)
    return molecules.variational(len(ALPHABET), 4, 12, hidden=8).model.eval()


@functools.cache
def messages():
    return ALPHABET.encode(SMILES)


@functools.cache
def codes():
    return np.random.default_rng(0).integers(0, 256, (8, 2), np.uint8)


def index():
    made = retrieval.FaissIndex(16)
    made.add(codes())
    return made


SENTENCES = ["a red house", "a blue house", "the blue car"]
FRENCH = ["une maison rouge", "une maison bleue", "la voiture bleue"]


@functools.cache
def vocabulary():
    return translation.Vocabulary(SENTENCES, 40)


@functools.cache
def translator():
    return translation.Translator(vocabulary(), vocabulary(), code=4, embedding=4, hidden=4)


@functools.cache
def codec():
    torch.manual_seed(0)
    objective = compression.transform_coder(0.1, torch.rand(2, 3, 32, 32), hidden=4, kept=(4, 1))
    return objective.model.eval()


@functools.cache
def picture():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@functools.cache
def mixture():
    return score.Mixture(data()[:3], 0.1)


@functools.cache
def estimator(kind, **options):
    return kind(epochs=1, hidden_layer_sizes=(4,), random_state=0, **options).fit(data().numpy())


def estimated(estimator, **options):
    """A constructor checks nothing, as scikit-learn has it: its arguments are looked at in fit."""
    return lambda **given: estimator(**given).fit(data().numpy()), {
        **dict(hidden_layer_sizes=(4,), epochs=1, batch_size=4, lr=0.01, random_state=0),
        **dict(scale=True, device="cpu", early_stopping=False, validation_fraction=0.1),
        **dict(n_iter_no_change=3, verbose=0),
        **options,
    }


PLACE = []


@pytest.fixture(autouse=True, scope="module")
def place(tmp_path_factory):
    """Where files go."""
    PLACE[:] = [tmp_path_factory.mktemp("contract")]


def folder():
    path = file("pictures")
    if not path.is_dir():
        from PIL import Image

        path.mkdir()
        Image.fromarray(picture()).save(path / "0.png")
    return path


def file(name):
    return PLACE[0] / name


@functools.cache
def model_file():
    aebook.save(trained(), file("model.safetensors"))
    return file("model.safetensors")


CURVE = compression.rate_distortion.Curve(
    np.array([0.1, 0.2, 0.4, 0.8]), np.array([30.0, 33.0, 36.0, 39.0])
)
BETTER = compression.rate_distortion.Curve(CURVE.rate * 0.9, CURVE.quality)
ENCODE, DECODE = compression.rate_distortion.pillow("JPEG", quality=50)
PARTS = dict(corruption=None, penalties=None)
COMMON = dict(corruption=None, distance=distances.squared_error, penalties=None)
NETWORK = dict(activation=nn.ReLU, output=nn.Sigmoid, bias=True)
ANOMALY = dict(x=data(), chunk=8)
PARENTS = [(), (0,), (0,), (1,)]
SENSES = [(1,), (2,), (3,)]

CASES = {
    "core.Autoencoder": lambda: dict(
        encoder=nn.Linear(6, 2), decoder=nn.Linear(2, 6), bottleneck=None
    ),
    "core.Autoencoder.encode": lambda: (trained().encode, dict(x=data())),
    "core.Autoencoder.decode": lambda: (trained().decode, dict(z=data()[:, :2])),
    "core.Autoencoder.reconstruct": lambda: (trained().reconstruct, dict(x=data())),
    "core.Autoencoder.forward": lambda: (trained(), dict(x=data())),
    "core.Objective": lambda: dict(
        model=trained(), **{**COMMON, "penalties": {"l2": (0.1, aebook.penalties.weight_decay)}}
    ),
    "core.Objective.weight": lambda: (vae().weight, dict(name="kl")),
    "core.Objective.set_weight": lambda: (
        variants.variational((6, 2)).set_weight,
        dict(name="kl", value=0.5),
    ),
    "core.Objective.corrupted": lambda: (plain().corrupted, dict(x=data())),
    "core.Objective.per_sample": lambda: (plain().per_sample, dict(x=data(), target=None)),
    "core.Objective.forward": lambda: (plain(), dict(x=data(), target=None, weight=None)),
    "core.layers": lambda: dict(encoder=trained().encoder, x=data()),
    "core.settings": lambda: dict(network=plain()),
    "training.loop.evaluate": lambda: dict(
        objective=plain(), data=data(), batch_size=4, sample_weight=None, seed=0
    ),
    "training.loop.fit": lambda: dict(
        objective=plain(),
        data=data(),
        epochs=1,
        batch_size=4,
        validation=None,
        sample_weight=None,
        lr=0.01,
        optimizer=torch.optim.Adam,
        schedule=None,
        anneal=None,
        clip=None,
        patience=None,
        precision=None,
        compile=False,
        device="cpu",
        seed=0,
        checkpoint=None,
        callback=None,
        progress=False,
    ),
    "training.full_batch.lbfgs": lambda: dict(
        objective=plain(), data=data(), iterations=2, tolerance=0.9, device="cpu"
    ),
    "training.greedy.layerwise": lambda: dict(objective=plain(output=None), data=data(), epochs=1),
    "training.temperature.annealing": lambda: dict(start=10.0, end=0.1),
    "training.temperature.temperature_at": lambda: dict(t=0.5, start=10.0, end=0.1),
    "training.temperature.fit_until_converged": lambda: dict(
        objective=variants.concrete((6, 4, 2)),
        data=data(),
        epochs=1,
        confidence=0.01,
        attempts=1,
        anneal=None,
    ),
    "storage.models.save": lambda: dict(model=trained(), path=file("saved.safetensors")),
    "storage.models.load": lambda: dict(path=model_file(), parts=None, device="cpu"),
    "storage.onnx.export": lambda: dict(
        model=trained(), x=data(), encoder=file("e.onnx"), decoder=file("d.onnx")
    ),
    "inference.encode": lambda: dict(model=trained(), data=data(), chunk=4),
    "inference.decode": lambda: dict(model=trained(), codes=data()[:, :2], chunk=4),
    "inference.reconstruct": lambda: dict(model=trained(), data=data(), chunk=4),
    # the equation's parts
    "networks.Chain": lambda: dict(shape=(6,)),
    "networks.Standardised": lambda: dict(width=4),
    "networks.Transposed": lambda: dict(source=nn.Linear(6, 2), bias=True),
    "networks.mlp": lambda: dict(widths=(6, 4, 2), **NETWORK),
    "networks.tied_decoder": lambda: dict(encoder=networks.mlp((6, 4, 2)), **NETWORK),
    "networks.convolutional": lambda: dict(
        shape=(1, 8, 8),
        channels=(2,),
        code=3,
        activation=nn.ReLU,
        code_activation=None,
        output=None,
        posterior=False,
    ),
    "recurrent.LastState": lambda: dict(channels=2, hidden=3),
    "recurrent.Unrolled": lambda: dict(code=3, hidden=4, channels=2, length=5),
    "recurrent.series": lambda: dict(shape=(2, 8), hidden=3, code=2, posterior=False),
    "recurrent.Encoder": lambda: dict(
        vocabulary=6,
        code=3,
        embedding=4,
        hidden=4,
        bidirectional=True,
        attention=False,
        dropout=0.1,
    ),
    "recurrent.Decoder": lambda: dict(
        vocabulary=6,
        code=3,
        length=5,
        embedding=4,
        hidden=4,
        attention=False,
        forget=0.0,
        dropout=0.1,
    ),
    "recurrent.Writer.sample": lambda: (
        writer().decoder.sample,
        dict(z=torch.zeros(2, 4), temperature=1.0, generator=None),
    ),
    "recurrent.Writer.beam": lambda: (
        writer().decoder.beam,
        dict(z=torch.zeros(2, 4), width=2, alpha=1.0),
    ),
    "recurrent.Decoder.alignment": lambda: (
        translator().model.decoder.alignment,
        dict(z=torch.ones(3, 5, 4), target=vocabulary().encode(SENTENCES)),
    ),
    "sparse.SparseLinear": lambda: dict(n=4, m=3, bias=True),
    "sparse.SparseTransposed": lambda: dict(source=nn.Linear(6, 2), bias=True),
    "sparse.UnitColumns": lambda: dict(along=1),
    "sparse.sparse_decoder": lambda: dict(decoder=networks.mlp((2, 6))),
    "sparse.unit_columns": lambda: dict(decoder=networks.mlp((2, 6))),
    "bottlenecks.Binary": lambda: dict(kind="noise", sigma=1.0),
    "bottlenecks.TopK": lambda: dict(k=2, by="value", alpha=1.0),
    "bottlenecks.TopK.set_k": lambda: (bottlenecks.TopK(2).set_k, dict(k=1)),
    "concrete.ConcreteSelector": lambda: dict(m=6, k=2, temperature=10.0),
    "concrete.ConcreteSelector.set_temperature": lambda: (
        aebook.concrete.ConcreteSelector(6, 2).set_temperature,
        dict(value=1.0),
    ),
    "concrete.relaxed_one_hot": lambda: dict(logits=data(), temperature=1.0),
    "corruptions.gaussian": lambda: dict(sigma=0.1),
    "corruptions.masking": lambda: dict(p=0.1),
    "corruptions.salt_and_pepper": lambda: dict(p=0.1, low=0.0, high=1.0),
    "distances.Gaussian": lambda: dict(sigma=1.0, kind="fixed"),
    "distances.DiscretisedLogistic": lambda: dict(levels=4),
    "distances.bernoulli": lambda: dict(reconstruction=data(), target=data()),
    "distances.categorical": lambda: dict(
        reconstruction=data(), target=torch.zeros(8, dtype=torch.long), ignore=None
    ),
    "distances.squared_error": lambda: dict(reconstruction=data(), target=data()),
    "penalties.activity": lambda: dict(kind="l1", layer=None),
    "penalties.sparsity": lambda: dict(target=0.1, kind="kl", over="data", layer=None),
    "penalties.combined": lambda: dict(
        own={"kl": (1.0, aebook.penalties.kl_to_prior)},
        more={"l2": (0.1, aebook.penalties.weight_decay)},
    ),
    "jacobian.by_autograd": lambda: dict(encoder=trained().encoder, x=data(), probes=None),
    "jacobian.contractive": lambda: dict(kind="hutchinson", probes=1),
    "jacobian.jacobian": lambda: dict(encoder=trained().encoder, x=data()),
    "jacobian.squared_norm": lambda: dict(
        encoder=trained().encoder, x=data(), kind="hutchinson", probes=1
    ),
    "variants.binary": lambda: dict(
        widths=(6, 4, 2), kind="noise", sigma=1.0, centred=True, tied=False, **NETWORK, **COMMON
    ),
    "variants.concrete": lambda: dict(widths=(6, 4, 2), temperature=1.0, **NETWORK, **COMMON),
    "variants.contractive": lambda: dict(
        widths=(6, 4, 2), weight=0.1, kind="exact", code=nn.Sigmoid, tied=True, **NETWORK, **COMMON
    ),
    "variants.denoising": lambda: dict(
        widths=(6, 4, 2),
        code=None,
        tied=False,
        **NETWORK,
        **{**COMMON, "corruption": aebook.corruptions.masking(0.1)},
    ),
    "variants.k_sparse": lambda: dict(
        widths=(6, 5, 4),
        k=2,
        by="value",
        alpha=1.0,
        tied=False,
        sparse_decode=False,
        **NETWORK,
        **COMMON,
    ),
    "variants.linear": lambda: dict(
        widths=(6, 2),
        bias=True,
        tied=False,
        corruption=None,
        distance=distances.squared_error,
        penalties=None,
    ),
    "variants.plain": lambda: dict(widths=(6, 4, 2), code=None, tied=False, **NETWORK, **COMMON),
    "variants.sparse": lambda: dict(
        widths=(6, 4),
        weight=0.1,
        target=0.1,
        kind="kl",
        over="data",
        tied=False,
        unit_columns=False,
        **NETWORK,
        **COMMON,
    ),
    "variants.variational": lambda: dict(
        widths=(6, 4, 2), beta=1.0, **NETWORK, **{**COMMON, "distance": distances.bernoulli}
    ),
    # what is seen and measured
    "metrics.aupro": lambda: dict(
        maps=photograph()[None], masks=photograph()[None] > 0.5, limit=0.3
    ),
    "metrics.dead_units": lambda: dict(codes=data()),
    "metrics.fvu": lambda: dict(reconstruction=data() * 0.9, target=data()),
    "metrics.l0": lambda: dict(codes=data()),
    "metrics.mean_average_precision": lambda: dict(
        relevant=codes() > 127, distances=codes(), total=np.full(8, 2)
    ),
    "metrics.precision_at_k": lambda: dict(relevant=codes() > 127, k=1, distances=codes()),
    "metrics.precision_recall": lambda: dict(distances=codes(), relevant=codes() > 127),
    "metrics.psnr": lambda: dict(restored=photograph(), image=photograph()),
    "metrics.ms_ssim": lambda: dict(
        restored=np.tile(photograph(), (8, 8)), image=np.tile(photograph(), (8, 8))
    ),
    "plots.codes": lambda: dict(
        z=data()[:, :2], labels=np.arange(8) % 2, names=["a", "b"], ax=None
    ),
    "plots.curves": lambda: dict(history=aebook.History({"loss": [1.0]}), ax=None),
    "plots.images": lambda: dict(
        rows={"a": torch.rand(2, 16)}, shape=(4, 4), symmetric=False, scale=0.5
    ),
    "live.figures.explore": lambda: dict(
        model=trained(), data=data(), labels=np.arange(8) % 2, names=["a", "b"], shape=(2, 3)
    ),
    "live.figures.sketch": lambda: dict(model=trained(), data=data(), shape=(2, 3), share=0.9),
    "live.figures.Live.save": lambda: (
        live.explore(trained(), data(), shape=(2, 3)).save,
        dict(path=file("page.html"), title="a"),
    ),
    "claims.verify": lambda: dict(
        what="a",
        value=1.0,
        above=0.0,
        below=2.0,
        at_least=0.0,
        at_most=2.0,
        equal=1.0,
        within=0.1,
        digits=2,
    ),
    "timings.recorded": lambda: dict(name="peers"),
    # theory
    "theory.dimension.maximum_likelihood": lambda: dict(x=data(), k=3),
    "theory.dimension.two_nn": lambda: dict(x=data()),
    "theory.likelihood.ImportanceWeighted": lambda: dict(objective=vae(), samples=2),
    "theory.likelihood.ImportanceWeighted.forward": lambda: (
        aebook.theory.likelihood.ImportanceWeighted(vae(), 2),
        dict(x=data(), target=None, weight=None),
    ),
    "theory.likelihood.active_units": lambda: dict(model=vae().model, x=data(), threshold=0.01),
    "theory.likelihood.elbo": lambda: dict(objective=vae(), x=data(), samples=1, seed=0),
    "theory.likelihood.importance_weighted_bound": lambda: dict(
        objective=vae(), x=data(), samples=2, chunk=8, seed=0
    ),
    "theory.likelihood.interpolate": lambda: dict(
        model=trained(), a=data()[:2], b=data()[2:4], steps=3
    ),
    "theory.likelihood.prior": lambda: dict(decoder=vae().model.decoder, n=2, generator=None),
    "theory.likelihood.sample": lambda: dict(model=vae().model, n=2, generator=None),
    "theory.linear.affine": lambda: dict(network=affine(), width=6),
    "theory.linear.eckart_young": lambda: dict(x=data(), p=2),
    "theory.linear.masked_map": lambda: dict(x=data(), share=0.5, p=2),
    "theory.linear.principal_angles": lambda: dict(a=data()[:6, :2], b=data()[:6, 2:4]),
    "theory.linear.principal_components": lambda: dict(x=data(), p=2),
    "theory.linear.recover_components": lambda: dict(model=tied_by_its_loss(), tolerance=0.05),
    "theory.linear.MaskedMap.encode": lambda: (
        linear.masked_map(data(), 0.5, 2).encode,
        dict(x=data()),
    ),
    "theory.linear.PrincipalComponents.encode": lambda: (
        linear.principal_components(data(), 2).encode,
        dict(x=data()),
    ),
    "theory.linear.PrincipalComponents.decode": lambda: (
        linear.principal_components(data(), 2).decode,
        dict(z=data()[:, :2]),
    ),
    "theory.linear.PrincipalComponents.reconstruct": lambda: (
        linear.principal_components(data(), 2).reconstruct,
        dict(x=data()),
    ),
    "theory.score.Mixture": lambda: dict(means=data()[:3], scale=0.1, weights=np.ones(3)),
    "theory.score.Mixture.log_density": lambda: (mixture().log_density, dict(x=data(), sigma=0.1)),
    "theory.score.Mixture.denoise": lambda: (mixture().denoise, dict(x=data(), sigma=0.1)),
    "theory.score.Mixture.score": lambda: (mixture().score, dict(x=data(), sigma=0.1)),
    "theory.score.Mixture.sample": lambda: (mixture().sample, dict(count=2, generator=None)),
    "theory.score.LinearDenoiser.reconstruct": lambda: (
        score.linear_denoiser(data(), 0.1).reconstruct,
        dict(x=data()),
    ),
    "theory.score.linear_denoiser": lambda: dict(x=data(), sigma=0.1, p=2),
    "theory.score.linear_denoising_loss": lambda: dict(model=affine(), x=data(), sigma=0.1),
    "theory.score.score": lambda: dict(model=trained(), x=data(), sigma=0.1),
    # Boltzmann machines
    "boltzmann.rbm.RBM": lambda: dict(
        visible=6, hidden=2, visible_units="bernoulli", hidden_units="gaussian"
    ),
    "boltzmann.rbm.RBM.energy": lambda: (RBM(6, 2).energy, dict(v=data(), h=data()[:, :2])),
    "boltzmann.rbm.RBM.free_energy": lambda: (RBM(6, 2).free_energy, dict(v=data())),
    "boltzmann.rbm.RBM.hidden_mean": lambda: (RBM(6, 2).hidden_mean, dict(v=data())),
    "boltzmann.rbm.RBM.visible_mean": lambda: (RBM(6, 2).visible_mean, dict(h=data()[:, :2])),
    "boltzmann.rbm.RBM.gibbs": lambda: (RBM(6, 2).gibbs, dict(v=data(), steps=1, generator=None)),
    "boltzmann.rbm.RBM.contrast": lambda: (RBM(6, 2).contrast, dict(v=data(), negative=data())),
    "boltzmann.rbm.RBM.fit": lambda: (
        RBM(6, 2).fit,
        dict(
            data=data(),
            epochs=1,
            steps=1,
            persistent=False,
            lr=0.1,
            momentum=0.5,
            weight_decay=0.0,
            batch_size=4,
            device="cpu",
            seed=0,
        ),
    ),
    "boltzmann.rbm.pretrain": lambda: dict(
        widths=(6, 4, 2),
        data=data(),
        epochs=1,
        visible_units="bernoulli",
        code_units="gaussian",
        lr=0.1,
        gaussian_lr=0.01,
        seed=0,
    ),
    "boltzmann.rbm.unroll": lambda: dict(stack=[RBM(6, 4), RBM(4, 2, hidden_units="gaussian")]),
    "boltzmann.partition.annealed": lambda: dict(
        rbm=RBM(6, 2), data=data(), steps=2, chains=2, seed=0
    ),
    "boltzmann.partition.exact": lambda: dict(rbm=RBM(6, 2)),
    # data sets
    "datasets.folder.ImageFolder": lambda: dict(folder=folder(), size=8, grey=False, white=1.0),
    "datasets.images.fashion_mnist": lambda: dict(split="train", full=False),
    "datasets.images.mnist": lambda: dict(split="train", full=False),
    "datasets.text.glosses": lambda: dict(split="train"),
    "datasets.chemistry.molecules": lambda: dict(split="train"),
    "datasets.news.posts": lambda: dict(count="reposts", replies=False),
    "datasets.parallel.segments": lambda: dict(split="train"),
    "datasets.tables.shuttle": lambda: dict(full=False),
    # estimators
    "estimators.detector.AutoencoderDetector": lambda: estimated(
        aebook.estimators.AutoencoderDetector,
        n_components=2,
        variant="plain",
        variant_params=None,
        activation=None,
        output="linear",
        contamination=0.2,
        novelty=True,
    ),
    "estimators.transformer.AutoencoderTransformer": lambda: estimated(
        aebook.estimators.AutoencoderTransformer,
        n_components=2,
        variant="plain",
        variant_params=None,
        activation=None,
        output="linear",
    ),
    "estimators.selector.ConcreteFeatureSelector": lambda: estimated(
        aebook.estimators.ConcreteFeatureSelector, n_features_to_select=2
    ),
    "estimators.hasher.SemanticHashTransformer": lambda: estimated(
        aebook.estimators.SemanticHashTransformer, n_bits=2, kind="noise", sigma=1.0
    ),
    **{
        f"estimators.{name}": (
            lambda kind=kind, method=method, data=given: (
                getattr(estimator(getattr(aebook.estimators, kind)), method),
                dict(
                    X=data().numpy(),
                    **(dict(sample_weight=np.ones(len(data()))) if "fit" in method else {}),
                ),
            )
        )
        for name, kind, method, given in (
            ("detector.AutoencoderDetector.fit", "AutoencoderDetector", "fit", data),
            (
                "detector.AutoencoderDetector.score_samples",
                "AutoencoderDetector",
                "score_samples",
                data,
            ),
            (
                "detector.AutoencoderDetector.decision_function",
                "AutoencoderDetector",
                "decision_function",
                data,
            ),
            (
                "detector.AutoencoderDetector.partial_fit",
                "AutoencoderDetector",
                "partial_fit",
                data,
            ),
            ("detector.AutoencoderDetector.explain", "AutoencoderDetector", "explain", data),
            (
                "detector.AutoencoderDetector.reconstruct",
                "AutoencoderDetector",
                "reconstruct",
                data,
            ),
            (
                "selector.ConcreteFeatureSelector.inverse_transform",
                "ConcreteFeatureSelector",
                "inverse_transform",
                lambda: data()[:, :3],
            ),
            ("detector.AutoencoderDetector.predict", "AutoencoderDetector", "predict", data),
            ("transformer.AutoencoderTransformer.fit", "AutoencoderTransformer", "fit", data),
            (
                "transformer.AutoencoderTransformer.partial_fit",
                "AutoencoderTransformer",
                "partial_fit",
                data,
            ),
            (
                "transformer.AutoencoderTransformer.transform",
                "AutoencoderTransformer",
                "transform",
                data,
            ),
            (
                "transformer.AutoencoderTransformer.inverse_transform",
                "AutoencoderTransformer",
                "inverse_transform",
                lambda: data()[:, :2],
            ),
            ("transformer.AutoencoderTransformer.score", "AutoencoderTransformer", "score", data),
            ("selector.ConcreteFeatureSelector.fit", "ConcreteFeatureSelector", "fit", data),
            (
                "selector.ConcreteFeatureSelector.transform",
                "ConcreteFeatureSelector",
                "transform",
                data,
            ),
            ("hasher.SemanticHashTransformer.fit", "SemanticHashTransformer", "fit", data),
            (
                "hasher.SemanticHashTransformer.transform",
                "SemanticHashTransformer",
                "transform",
                data,
            ),
            ("hasher.SemanticHashTransformer.encode", "SemanticHashTransformer", "encode", data),
        )
    },
    # applications
    "applications.anomaly.robust.decompose": lambda: dict(
        objective=plain(),
        x=data(),
        weight=0.1,
        norm="l1",
        rounds=1,
        train=lambda objective, x: None,
    ),
    "applications.anomaly.robust.group_soft_threshold": lambda: dict(
        s=data(), weight=0.1, by="row"
    ),
    "applications.anomaly.robust.soft_threshold": lambda: dict(s=data(), weight=0.1),
    "applications.anomaly.scores.likelihood_regret": lambda: dict(
        objective=vae(), steps=1, lr=0.1, samples=1, seed=0, **ANOMALY
    ),
    "applications.anomaly.scores.mahalanobis": lambda: dict(
        objective=plain(), reference=data(), **ANOMALY
    ),
    "applications.anomaly.scores.negative_elbo": lambda: dict(
        objective=vae(), samples=1, seed=0, **ANOMALY
    ),
    "applications.anomaly.scores.negative_log_likelihood": lambda: dict(
        objective=vae(), samples=1, seed=0, **ANOMALY
    ),
    "applications.anomaly.scores.reconstruction_error": lambda: dict(objective=plain(), **ANOMALY),
    "applications.anomaly.scores.reconstruction_probability": lambda: dict(
        objective=vae(), samples=1, seed=0, **ANOMALY
    ),
    "metrics.threshold": lambda: dict(
        scores=data()[:, 0],
        contamination=0.1,
        quantile=None,
        sample_weight=np.ones(len(data())),
        interpolate=False,
    ),
    "applications.compression.transform.Analysis": lambda: dict(step=0.1, hidden=4, kept=(4, 1)),
    "applications.compression.transform.Synthesis": lambda: dict(step=0.1, hidden=4, kept=(4, 1)),
    "applications.compression.transform.Quantiser": lambda: dict(channels=3, kind="noise"),
    "applications.compression.transform.slope": lambda: dict(step=0.1),
    "applications.compression.transform.transform_coder": lambda: dict(
        step=0.1, photographs=torch.rand(1, 3, 32, 32), kind="mixed", hidden=4, kept=(4, 1), **PARTS
    ),
    "applications.compression.bits_back.decode": lambda: dict(
        objective=binary_vae(), data=bits_back.encode(binary_vae(), data().round(), bits=3)
    ),
    "applications.compression.bits_back.encode": lambda: dict(
        objective=binary_vae(), x=data().round(), bits=3
    ),
    "theory.code_length.bin_centres": lambda: dict(bits=3),
    "theory.code_length.bin_probabilities": lambda: dict(
        posterior=bottlenecks.Posterior(torch.zeros(2, 3), torch.zeros(2, 3)), bits=3
    ),
    "theory.code_length.lengths": lambda: dict(
        objective=binary_vae(), x=data().round(), bits=3, best=True, seed=0
    ),
    "applications.compression.bitstream.Codec": lambda: dict(model=codec()),
    "applications.compression.bitstream.Codec.compress": lambda: (
        compression.Codec(codec()).compress,
        dict(image=picture()),
    ),
    "applications.compression.bitstream.Codec.decompress": lambda: (
        compression.Codec(codec()).decompress,
        dict(data=compressed()),
    ),
    "applications.compression.bitstream.tables": lambda: dict(prior=codec().bottleneck),
    "applications.compression.compressors.cosine": lambda: dict(step=48),
    "applications.compression.compressors.trained": lambda: dict(step=48),
    "applications.compression.rate_distortion.bd_psnr": lambda: dict(
        anchor=CURVE, test=BETTER, method="pchip"
    ),
    "applications.compression.rate_distortion.bd_rate": lambda: dict(
        anchor=CURVE, test=BETTER, method="pchip"
    ),
    "applications.compression.rate_distortion.bits_per_pixel": lambda: dict(
        data=b"abc", image=picture()
    ),
    "applications.compression.rate_distortion.curve": lambda: dict(
        image=picture(), codecs=[(ENCODE, DECODE)]
    ),
    "applications.compression.rate_distortion.pareto": lambda: (
        lambda one: compression.rate_distortion.pareto(one, BETTER),
        dict(one=CURVE),
    ),
    "applications.compression.rate_distortion.pillow": lambda: dict(format="JPEG"),
    "applications.detection.detections": lambda: dict(
        image=photograph(),
        score=lambda x: x.mean((1, 2)),
        size=(8, 8),
        scales=(1.0,),
        stride=4,
        shared=0.3,
        limit=2,
    ),
    "applications.detection.overlap": lambda: dict(a=(0, 0, 4, 4), b=(1, 1, 5, 5)),
    "applications.detection.score_map": lambda: dict(
        image=photograph(), score=lambda x: x.mean((1, 2)), size=(8, 8), scale=1.0, stride=4
    ),
    "applications.detection.standardised": lambda: dict(images=photograph()[None], floor=0.02),
    "applications.detection.windows": lambda: dict(
        image=photograph(), size=(8, 8), scale=1.0, stride=4
    ),
    "applications.images.restoration.by_patches": lambda: dict(
        function=lambda x: x, image=photograph(), size=16, overlap=4, channels="together", chunk=4
    ),
    "applications.images.restoration.cut": lambda: dict(
        images=[photograph()], count=2, size=8, seed=0
    ),
    "applications.images.restoration.denoiser": lambda: dict(channels=1, width=2, depth=1),
    "applications.images.restoration.passing_on": lambda: dict(
        channels=1, width=2, depth=1, factor=1
    ),
    "applications.images.restoration.random_level": lambda: dict(
        corruption=aebook.corruptions.gaussian, low=0.0, high=0.1
    ),
    "applications.images.restoration.ssim": lambda: dict(restored=photograph(), clean=photograph()),
    "applications.images.restoration.tune": lambda: dict(
        method=images.filters.gaussian,
        grid=[0.5],
        noisy=[photograph()],
        clean=[photograph()],
        score=aebook.metrics.psnr,
    ),
    "applications.images.superresolution.consistent": lambda: dict(
        x=torch.rand(1, 1, 8, 8), y=torch.rand(1, 1, 4, 4)
    ),
    "applications.images.superresolution.coupled": lambda: dict(
        low=plain().model, high=plain().model, link=nn.Linear(2, 2)
    ),
    "applications.images.superresolution.downsample": lambda: dict(
        x=torch.rand(1, 1, 8, 8), factor=2
    ),
    "applications.images.superresolution.upsample": lambda: dict(
        y=torch.rand(1, 1, 4, 4), factor=2, kind="bicubic"
    ),
    "applications.images.superresolution.upscaler": lambda: dict(
        channels=1, width=4, depth=1, factor=2
    ),
    "applications.images.filters.as_image": lambda: dict(image=photograph(), name="image"),
    "applications.images.filters.bm3d": lambda: dict(noisy=photograph()[:9, :9], sigma=0.1),
    "applications.images.filters.gaussian": lambda: dict(noisy=photograph(), width=1.0),
    "applications.images.filters.median": lambda: dict(noisy=photograph(), size=3),
    "applications.images.filters.non_local_means": lambda: dict(noisy=photograph(), sigma=0.1),
    "applications.images.filters.switching_median": lambda: dict(noisy=photograph(), size=3),
    "applications.images.filters.total_variation": lambda: dict(noisy=photograph(), weight=0.1),
    "applications.images.filters.wavelet": lambda: dict(noisy=photograph(), sigma=0.1),
    "applications.molecules.model.Alphabet": lambda: dict(symbols=["C", "O"], split=list),
    "applications.molecules.model.Alphabet.of": lambda: dict(texts=SMILES, split=list),
    "applications.molecules.model.Alphabet.encode": lambda: (
        ALPHABET.encode,
        dict(texts=SMILES, length=12),
    ),
    "applications.molecules.model.Alphabet.decode": lambda: (
        ALPHABET.decode,
        dict(messages=messages()),
    ),
    "applications.molecules.model.from_selfies": lambda: dict(selfies="[C][C][O]"),
    "applications.molecules.model.to_selfies": lambda: dict(smiles="CCO"),
    "applications.molecules.model.split_selfies": lambda: dict(selfies="[C][C]"),
    "applications.molecules.model.split_smiles": lambda: dict(smiles="CCO"),
    "applications.molecules.model.sample": lambda: dict(
        model=writer(), alphabet=ALPHABET, n=2, temperature=1.0, generator=None
    ),
    "applications.molecules.model.variational": lambda: dict(
        alphabet=9, code=4, length=8, hidden=8, beta=1.0, forget=0.0, **PARTS
    ),
    "applications.molecules.model.warm_up": lambda: dict(beta=1.0, until=0.5),
    "applications.molecules.ngram.NGram": lambda: dict(
        messages=messages(), order=2, alphabet=len(ALPHABET)
    ),
    "applications.molecules.ngram.NGram.log_likelihood": lambda: (
        molecules.NGram(messages(), 2).log_likelihood,
        dict(messages=messages()),
    ),
    "applications.molecules.ngram.NGram.sample": lambda: (
        molecules.NGram(messages(), 2).sample,
        dict(n=2, length=4, generator=None),
    ),
    "applications.molecules.code_search.search": lambda: dict(
        start=["a", "b"],
        vary=lambda texts: [text + "c" for text in texts],
        read=lambda texts: texts,
        score=lambda texts: [len(text) for text in texts],
        rounds=1,
    ),
    "applications.molecules.measures.canonical": lambda: dict(smiles=SMILES),
    "applications.molecules.measures.distances": lambda: dict(a=properties(), b=properties()),
    "applications.molecules.measures.diversity": lambda: dict(smiles=SMILES),
    "applications.molecules.measures.draw": lambda: dict(
        smiles=SMILES, legends=None, columns=2, size=(30, 30)
    ),
    "applications.molecules.measures.fingerprints": lambda: dict(smiles=SMILES),
    "applications.molecules.measures.properties": lambda: dict(smiles=SMILES, names=("logp",)),
    "applications.molecules.measures.activations": lambda: dict(smiles=SMILES),
    "applications.molecules.measures.cosine": lambda: dict(a={"C": 2}, b={"C": 1, "O": 3}),
    "applications.molecules.measures.fragments": lambda: dict(smiles=SMILES),
    "applications.molecules.measures.frechet": lambda: dict(
        a=codes().astype(np.float64), b=codes().astype(np.float64)
    ),
    "applications.molecules.measures.nearest": lambda: dict(a=codes() > 9, b=codes() > 99),
    "applications.molecules.measures.passes": lambda: dict(smiles=SMILES),
    "applications.molecules.measures.scaffolds": lambda: dict(smiles=SMILES),
    "applications.molecules.model.language_model": lambda: dict(alphabet=9, length=12, hidden=8),
    "applications.molecules.measures.score": lambda: dict(samples=SMILES, reference=SMILES, k=None),
    "applications.molecules.measures.similarity": lambda: dict(a=codes() > 9, b=codes() > 99),
    "applications.popularity.block_bootstrap": lambda: (
        lambda **given: popularity.block_bootstrap(
            given.pop("metric"), given.pop("array"), **given
        ),
        dict(
            metric=lambda x: x.mean(), array=np.arange(8.0), block=2, samples=3, level=0.9, seed=0
        ),
    ),
    "applications.popularity.running_median": lambda: dict(
        values=np.arange(8.0), times=np.arange(8.0), n=2, delay=0.0
    ),
    "applications.popularity.stacked_features": lambda: dict(
        x=data(),
        widths=(2,),
        corruption=popularity.MASKING,
        activation=nn.ReLU,
        epochs=1,
        fine_tune=1,
        lr=0.01,
        seed=0,
    ),
    "applications.popularity.time_split": lambda: dict(
        times=np.arange(8.0), shares=(0.5, 0.5), gap=0.0
    ),
    "applications.pretrained.load": lambda: dict(name="restoration-photographs", parts=None),
    "applications.retrieval.faiss.FaissIndex": lambda: dict(bits=16, kind="flat"),
    **{
        f"applications.retrieval.faiss.FaissIndex.{method}": (
            lambda method=method, given=given: (getattr(index(), method), given())
        )
        for method, given in {
            "add": lambda: dict(codes=codes(), ids=np.arange(20, 28)),
            "remove": lambda: dict(ids=np.arange(2)),
            "search": lambda: dict(queries=codes()[:2], k=3),
            "within": lambda: dict(queries=codes()[:2], radius=3),
            "save": lambda: dict(path=file("index")),
        }.items()
    },
    "applications.retrieval.faiss.FaissIndex.load": lambda: dict(path=index_file(), kind="flat"),
    "hashing.SemanticHasher": lambda: dict(
        model=trained(), x=data(), sample_weight=np.ones(len(data()))
    ),
    "hashing.SemanticHasher.bits": lambda: (
        retrieval.SemanticHasher(trained(), data()).bits,
        dict(x=data()),
    ),
    "hashing.SemanticHasher.encode": lambda: (
        retrieval.SemanticHasher(trained(), data()).encode,
        dict(x=data()),
    ),
    "applications.retrieval.hashers.LinearHasher.bits": lambda: (
        retrieval.lsh(data(), 4).bits,
        dict(x=data()),
    ),
    "applications.retrieval.hashers.LinearHasher.encode": lambda: (
        retrieval.lsh(data(), 4).encode,
        dict(x=data()),
    ),
    "applications.retrieval.hashers.itq": lambda: dict(x=data(), bits=2, iterations=2, seed=0),
    "applications.retrieval.hashers.lsh": lambda: dict(x=data(), bits=2, seed=0),
    "applications.retrieval.hashers.pca_sign": lambda: dict(x=data(), bits=2),
    "applications.retrieval.hashers.rerank": lambda: dict(
        queries=data()[:2], documents=data(), shortlists=[np.arange(3), np.arange(3)], k=2
    ),
    "applications.retrieval.codes.hamming_distances": lambda: dict(
        queries=codes()[:2], codes=codes()
    ),
    "hashing.pack": lambda: dict(bits=codes() > 99),
    "hashing.unpack": lambda: dict(codes=codes(), bits=16),
    "applications.translation.lexicon.Lexicon": lambda: dict(
        sources=SENTENCES, targets=FRENCH, iterations=1
    ),
    "applications.translation.lexicon.Lexicon.translate": lambda: (
        translation.Lexicon(SENTENCES, FRENCH, iterations=1).translate,
        dict(texts=SENTENCES),
    ),
    "applications.translation.lexicon.Memory": lambda: dict(sources=SENTENCES, targets=FRENCH),
    "applications.translation.lexicon.Memory.translate": lambda: (
        translation.Memory(SENTENCES, FRENCH).translate,
        dict(texts=SENTENCES),
    ),
    "applications.translation.model.Vocabulary": lambda: dict(texts=SENTENCES, size=40),
    "applications.translation.model.Vocabulary.pieces": lambda: (
        vocabulary().pieces,
        dict(text="a red car"),
    ),
    "applications.translation.model.Vocabulary.encode": lambda: (
        vocabulary().encode,
        dict(texts=SENTENCES, reverse=False),
    ),
    "applications.translation.model.Vocabulary.decode": lambda: (
        vocabulary().decode,
        dict(symbols=vocabulary().encode(SENTENCES)),
    ),
    "applications.translation.model.Translator": lambda: dict(
        source=vocabulary(),
        target=vocabulary(),
        model=None,
        reverse=False,
        attention=True,
        bidirectional=True,
        code=4,
        embedding=4,
        hidden=4,
        length=8,
        forget=0.0,
        dropout=0.1,
    ),
    "applications.translation.model.Translator.objective": lambda: (
        translator().objective,
        dict(hide=0.1, penalties=None),
    ),
    "applications.translation.model.Translator.batches": lambda: (
        translator().batches,
        dict(sources=SENTENCES, targets=SENTENCES, size=2),
    ),
    "applications.translation.model.Translator.translate": lambda: (
        translator().translate,
        dict(texts=SENTENCES[:1], beam=1),
    ),
    "applications.translation.model.scores": lambda: dict(
        translations=FRENCH, references=FRENCH, chinese=False
    ),
    "applications.translation.hanzi.compose": lambda: dict(text="⿰木木", descriptions=None),
    "applications.translation.hanzi.decompose": lambda: dict(text="林", descriptions=None),
    "applications.translation.hanzi.share_parts": lambda: dict(
        layer=nn.Embedding(10, 2), vocabulary=translation.Vocabulary(["林 森 木 好"], 10)
    ),
    "applications.translation.transformer.Encoder": lambda: dict(
        vocabulary=6, code=4, layers=1, heads=2, hidden=4, dropout=0.1
    ),
    "applications.translation.transformer.Decoder": lambda: dict(
        vocabulary=6, code=4, length=5, layers=1, heads=2, hidden=4, dropout=0.1
    ),
    "applications.words.taxonomy.common_ancestor": lambda: dict(
        first=(2,), second=(3,), parents=PARENTS
    ),
    "applications.words.taxonomy.depths": lambda: dict(parents=PARENTS),
    "applications.words.taxonomy.path_similarity": lambda: dict(senses=SENSES, parents=PARENTS),
    "applications.words.taxonomy.wu_palmer": lambda: dict(senses=SENSES, parents=PARENTS),
    "applications.words.vectors.cooccurrence": lambda: dict(
        texts=SENTENCES, words=["a", "house"], contexts=None, window=2, sided=False
    ),
    "applications.words.vectors.word_messages": lambda: dict(
        counts=np.ones((3, 4)), shift=1.0, smoothing=0.75
    ),
    "applications.words.vectors.neighbours": lambda: dict(
        word="a", words=["a", "b", "c"], vectors=np.eye(3), k=1
    ),
    "applications.words.vectors.ppmi": lambda: dict(
        counts=np.ones((3, 4)), shift=1.0, smoothing=0.75
    ),
    "applications.words.vectors.singular_vectors": lambda: dict(
        matrix=data().numpy(), p=2, power=1.0
    ),
    "applications.words.vectors.tokens": lambda: dict(text="a house"),
    "applications.words.vectors.vocabulary": lambda: dict(texts=SENTENCES, least=1),
    "applications.words.vectors.word_autoencoder": lambda: dict(
        contexts=6, p=2, hidden=0.5, penalties=None
    ),
}


@functools.cache
def tied_by_its_loss():
    torch.manual_seed(0)
    objective = variants.linear(
        (6, 2), penalties={"l2": (1e-3, aebook.penalties.weight_decay)}
    ).double()
    x = data().double() * torch.arange(1.0, 7.0)
    aebook.lbfgs(objective, x - x.mean(0), tolerance=1e-9)
    return objective.model


@functools.cache
def compressed():
    return compression.Codec(codec()).compress(picture())


@functools.cache
def properties():
    return molecules.measures.properties(SMILES, ("qed", "logp", "sa", "weight"))


@functools.cache
def index_file():
    index().save(file("codes"))
    return file("codes")


#: Cells that are not tried: what is told to go on for ever does, rates may be too large or not,
#: and some ask the network or take seconds.
LEFT_OUT = (
    r".*\((epochs|rounds|steps|samples|iterations|attempts|count|window|probes|fine_tune)\) huge"
    r"|.*\((gaussian_)?lr\) huge"
    r"|datasets\.images\..*\(full\) true|training\.loop\.fit\(compile\) true"
    r"|storage\.onnx\.export\((encoder|decoder)\) text"
    r"|(storage\.onnx\.export|.*\.bm3d)\((x|noisy)\)"
    r" (bfloat16|gradients|bigendian|longdouble|backwards)"
)
#: Values that are rightly taken, and where; None and truth values are known from annotations.
TAKEN = {
    # a module, or a function, that gives back what it is given
    "layer": (
        "core.Autoencoder(encoder)",
        "core.Autoencoder(decoder)",
        "core.Autoencoder(bottleneck)",
        "core.layers(encoder)",
        "core.settings(network)",
        "training.loop.fit(schedule)",
        "jacobian.by_autograd(encoder)",
        "jacobian.jacobian(encoder)",
        "jacobian.squared_norm(encoder)",
        "theory.linear.affine(network)",
        "applications.images.restoration.by_patches(function)",
        "applications.images.superresolution.coupled(link)",
        "applications.molecules.code_search.search(vary)",
        "applications.molecules.code_search.search(read)",
        "applications.popularity.stacked_features(corruption)",
    ),
    # nothing in, nothing out
    "empty": (
        "core.Autoencoder.encode(x)",
        "core.Autoencoder.decode(z)",
        "core.Autoencoder.reconstruct(x)",
        "core.Autoencoder.forward(x)",
        "theory.score.Mixture.log_density(x)",
        "theory.score.Mixture.denoise(x)",
        "theory.score.Mixture.score(x)",
        "theory.score.LinearDenoiser.reconstruct(x)",
        "theory.score.score(x)",
        "applications.molecules.measures.similarity(a)",
        "applications.molecules.measures.similarity(b)",
        "applications.retrieval.faiss.FaissIndex.search(queries)",
        "applications.retrieval.faiss.FaissIndex.within(queries)",
        "applications.retrieval.codes.hamming_distances(queries)",
        "applications.retrieval.codes.hamming_distances(codes)",
        "hashing.unpack(codes)",
    ),
    # gives None, as a callback may
    "function": ("training.loop.fit(callback)",),
    # functions whose values are seen when they are used, and checked then
    "function layer": (
        "core.Objective(corruption)",
        "core.Objective(distance)",
        "variants.binary(corruption)",
        "variants.binary(distance)",
        "variants.concrete(corruption)",
        "variants.concrete(distance)",
        "variants.contractive(corruption)",
        "variants.contractive(distance)",
        "variants.denoising(corruption)",
        "variants.denoising(distance)",
        "variants.k_sparse(corruption)",
        "variants.k_sparse(distance)",
        "variants.linear(corruption)",
        "variants.linear(distance)",
        "variants.plain(corruption)",
        "variants.plain(distance)",
        "variants.sparse(corruption)",
        "variants.sparse(distance)",
        "variants.variational(corruption)",
        "variants.variational(distance)",
        "applications.compression.transform.transform_coder(corruption)",
        "applications.molecules.model.variational(corruption)",
        "applications.anomaly.robust.decompose(train)",
    ),
    # numbers that are 0 or more
    "0 2.5 huge": (
        "core.Objective.set_weight(value)",
        "recurrent.Writer.beam(alpha)",
        "bottlenecks.Binary(sigma)",
        "corruptions.gaussian(sigma)",
        "variants.binary(sigma)",
        "variants.contractive(weight)",
        "variants.sparse(weight)",
        "variants.variational(beta)",
        "claims.verify(within)",
        "theory.likelihood.active_units(threshold)",
        "boltzmann.rbm.RBM.fit(weight_decay)",
        "applications.anomaly.robust.decompose(weight)",
        "applications.anomaly.robust.group_soft_threshold(weight)",
        "applications.anomaly.robust.soft_threshold(weight)",
        "applications.images.restoration.random_level(high)",
        "applications.molecules.model.variational(beta)",
        "applications.molecules.model.warm_up(beta)",
        "applications.popularity.running_median(delay)",
        "applications.words.vectors.singular_vectors(power)",
    ),
    # in every step of training: NaN goes through, and the loss that is NaN is refused
    "empty withnan": (
        "core.Objective.per_sample(x)",
        "core.Objective.forward(x)",
        "core.layers(x)",
        "jacobian.by_autograd(x)",
        "jacobian.jacobian(x)",
        "jacobian.squared_norm(x)",
        "theory.likelihood.ImportanceWeighted.forward(x)",
        "theory.linear.MaskedMap.encode(x)",
        "theory.linear.PrincipalComponents.encode(x)",
        "theory.linear.PrincipalComponents.decode(z)",
        "theory.linear.PrincipalComponents.reconstruct(x)",
        "boltzmann.rbm.RBM.free_energy(v)",
        "boltzmann.rbm.RBM.hidden_mean(v)",
        "boltzmann.rbm.RBM.visible_mean(h)",
        "boltzmann.rbm.RBM.gibbs(v)",
        "boltzmann.rbm.RBM.contrast(v)",
        "boltzmann.rbm.RBM.contrast(negative)",
    ),
    # one weight for all
    "scalar": (
        "core.Objective.forward(weight)",
        "theory.likelihood.ImportanceWeighted.forward(weight)",
    ),
    # whole numbers from 1 up, without a largest
    "huge": (
        "training.loop.evaluate(batch_size)",
        "training.loop.fit(batch_size)",
        "inference.encode(chunk)",
        "inference.decode(chunk)",
        "inference.reconstruct(chunk)",
        "recurrent.Decoder(length)",
        "recurrent.Unrolled(length)",
        "bottlenecks.TopK(k)",
        "bottlenecks.TopK.set_k(k)",
        "theory.likelihood.importance_weighted_bound(chunk)",
        "boltzmann.rbm.RBM.fit(batch_size)",
        "datasets.folder.ImageFolder(size)",
        "applications.anomaly.scores.likelihood_regret(chunk)",
        "applications.anomaly.scores.mahalanobis(chunk)",
        "applications.anomaly.scores.negative_elbo(chunk)",
        "applications.anomaly.scores.negative_log_likelihood(chunk)",
        "applications.anomaly.scores.reconstruction_error(chunk)",
        "applications.anomaly.scores.reconstruction_probability(chunk)",
        "applications.detection.detections(stride)",
        "applications.detection.detections(limit)",
        "applications.detection.score_map(stride)",
        "applications.detection.windows(stride)",
        "applications.images.restoration.by_patches(chunk)",
        "applications.molecules.model.language_model(length)",
        "applications.molecules.model.variational(length)",
        "applications.molecules.measures.score(k)",
        "applications.popularity.running_median(n)",
        "applications.retrieval.faiss.FaissIndex(bits)",
        "applications.retrieval.hashers.rerank(k)",
        "applications.translation.model.Translator(length)",
        "applications.translation.transformer.Decoder(length)",
        "applications.translation.model.Translator.batches(size)",
    ),
    # whole numbers from 0 up, without a largest
    "0 huge": (
        "training.loop.evaluate(seed)",
        "training.loop.fit(seed)",
        "theory.likelihood.elbo(seed)",
        "theory.likelihood.importance_weighted_bound(seed)",
        "theory.linear.eckart_young(p)",
        "boltzmann.rbm.RBM.fit(seed)",
        "boltzmann.rbm.pretrain(seed)",
        "boltzmann.partition.annealed(seed)",
        "applications.anomaly.scores.likelihood_regret(seed)",
        "applications.anomaly.scores.negative_elbo(seed)",
        "applications.anomaly.scores.negative_log_likelihood(seed)",
        "applications.anomaly.scores.reconstruction_probability(seed)",
        "applications.images.restoration.cut(seed)",
        "applications.popularity.block_bootstrap(seed)",
        "theory.code_length.lengths(seed)",
        "applications.popularity.stacked_features(seed)",
        "applications.retrieval.faiss.FaissIndex.within(radius)",
        "applications.retrieval.hashers.itq(seed)",
        "applications.retrieval.hashers.lsh(seed)",
    ),
    # may be 0, and no more than 1 or a few
    "0": (
        "training.loop.fit(epochs)",
        "training.greedy.layerwise(epochs)",
        "training.temperature.temperature_at(t)",
        "training.temperature.fit_until_converged(epochs)",
        "recurrent.Decoder(forget)",
        "recurrent.Decoder(dropout)",
        "recurrent.Encoder(dropout)",
        "sparse.UnitColumns(along)",
        "corruptions.masking(p)",
        "corruptions.salt_and_pepper(p)",
        "boltzmann.rbm.RBM.gibbs(steps)",
        "boltzmann.rbm.RBM.fit(epochs)",
        "boltzmann.rbm.RBM.fit(momentum)",
        "boltzmann.rbm.pretrain(epochs)",
        "metrics.threshold(contamination)",
        "applications.detection.detections(shared)",
        "applications.images.restoration.by_patches(overlap)",
        "applications.images.restoration.random_level(low)",
        "applications.molecules.model.variational(forget)",
        "applications.molecules.code_search.search(rounds)",
        "applications.popularity.stacked_features(epochs)",
        "applications.popularity.stacked_features(fine_tune)",
        "applications.retrieval.hashers.itq(iterations)",
        "applications.translation.model.Translator(forget)",
        "applications.translation.model.Translator(dropout)",
        "applications.translation.transformer.Decoder(dropout)",
        "applications.translation.transformer.Encoder(dropout)",
        "applications.translation.model.Translator.objective(hide)",
        "applications.words.vectors.word_autoencoder(hidden)",
    ),
    # numbers above 0 that may be too large for what they are used on
    "2.5": (
        "boltzmann.rbm.RBM.fit(lr)",
        "boltzmann.rbm.pretrain(lr)",
        "boltzmann.rbm.pretrain(gaussian_lr)",
        "training.loop.fit(lr)",
        "theory.score.Mixture.denoise(sigma)",
        "theory.score.score(sigma)",
        "applications.anomaly.scores.likelihood_regret(lr)",
        "applications.detection.score_map(scale)",
        "applications.detection.windows(scale)",
        "applications.images.filters.gaussian(width)",
        "applications.popularity.stacked_features(lr)",
    ),
    # functions whose values are seen when they are used, or that return nothing
    "function class layer": (
        "training.loop.fit(anneal)",
        "training.temperature.fit_until_converged(anneal)",
        "applications.molecules.model.Alphabet(split)",
    ),
    # numbers above 0
    "2.5 huge": (
        "datasets.folder.ImageFolder(white)",
        "training.loop.fit(clip)",
        "training.full_batch.lbfgs(tolerance)",
        "training.temperature.annealing(start)",
        "training.temperature.annealing(end)",
        "training.temperature.temperature_at(start)",
        "training.temperature.temperature_at(end)",
        "recurrent.Writer.sample(temperature)",
        "bottlenecks.TopK(alpha)",
        "concrete.ConcreteSelector(temperature)",
        "variants.concrete(temperature)",
        "concrete.ConcreteSelector.set_temperature(value)",
        "distances.Gaussian(sigma)",
        "variants.k_sparse(alpha)",
        "plots.images(scale)",
        "theory.linear.recover_components(tolerance)",
        "applications.compression.transform.Analysis(step)",
        "applications.compression.transform.Synthesis(step)",
        "applications.compression.transform.slope(step)",
        "applications.compression.transform.transform_coder(step)",
        "applications.detection.standardised(floor)",
        "applications.images.filters.bm3d(sigma)",
        "applications.images.filters.non_local_means(sigma)",
        "applications.images.filters.total_variation(weight)",
        "applications.images.filters.wavelet(sigma)",
        "applications.molecules.model.sample(temperature)",
        "applications.molecules.model.warm_up(until)",
        "applications.words.vectors.word_messages(shift)",
        "applications.words.vectors.ppmi(shift)",
    ),
    # any text, or a path of a new file
    "text": (
        "training.loop.fit(checkpoint)",
        "storage.models.save(path)",
        "live.figures.Live.save(path)",
        "live.figures.Live.save(title)",
        "claims.verify(what)",
        "applications.images.filters.as_image(name)",
        "applications.retrieval.faiss.FaissIndex.save(path)",
        "applications.translation.model.Vocabulary.pieces(text)",
        "applications.translation.hanzi.compose(text)",
        "applications.translation.hanzi.decompose(text)",
        "applications.words.vectors.tokens(text)",
    ),
    # nothing in, nothing out
    "emptylist array": (
        "networks.Chain(shape)",
        "applications.compression.rate_distortion.curve(codecs)",
        "applications.molecules.model.Alphabet.encode(texts)",
        "applications.molecules.measures.activations(smiles)",
        "applications.molecules.measures.canonical(smiles)",
        "applications.molecules.measures.fingerprints(smiles)",
        "applications.molecules.measures.fragments(smiles)",
        "applications.molecules.measures.passes(smiles)",
        "applications.molecules.measures.scaffolds(smiles)",
        "applications.molecules.measures.properties(smiles)",
        "applications.molecules.measures.properties(names)",
        "applications.molecules.measures.score(reference)",
        "applications.words.taxonomy.depths(parents)",
        "applications.words.taxonomy.path_similarity(senses)",
        "applications.words.taxonomy.wu_palmer(senses)",
        "applications.words.vectors.cooccurrence(texts)",
    ),
    # data of another width, which is as good
    "size": (
        "applications.images.superresolution.upsample(y)",
        "estimators.detector.AutoencoderDetector.fit(X)",
        "estimators.transformer.AutoencoderTransformer.fit(X)",
        "estimators.selector.ConcreteFeatureSelector.fit(X)",
        "estimators.hasher.SemanticHashTransformer.fit(X)",
        "recurrent.Decoder.alignment(target)",
        "metrics.dead_units(codes)",
        "metrics.l0(codes)",
        "theory.dimension.maximum_likelihood(x)",
        "theory.dimension.two_nn(x)",
        "theory.linear.eckart_young(x)",
        "theory.linear.masked_map(x)",
        "theory.linear.principal_components(x)",
        "theory.score.Mixture(means)",
        "theory.score.linear_denoiser(x)",
        "applications.compression.bitstream.Codec.compress(image)",
        "applications.detection.detections(image)",
        "applications.detection.score_map(image)",
        "applications.detection.windows(image)",
        "applications.images.restoration.by_patches(image)",
        "applications.images.filters.as_image(image)",
        "applications.images.filters.bm3d(noisy)",
        "applications.images.filters.gaussian(noisy)",
        "applications.images.filters.median(noisy)",
        "applications.images.filters.non_local_means(noisy)",
        "applications.images.filters.switching_median(noisy)",
        "applications.images.filters.total_variation(noisy)",
        "applications.images.filters.wavelet(noisy)",
        "applications.molecules.ngram.NGram(messages)",
        "applications.molecules.ngram.NGram.log_likelihood(messages)",
        "applications.popularity.block_bootstrap(array)",
        "applications.popularity.stacked_features(x)",
        "applications.popularity.time_split(times)",
        "applications.retrieval.hashers.itq(x)",
        "applications.retrieval.hashers.lsh(x)",
        "applications.retrieval.hashers.pca_sign(x)",
        "applications.words.vectors.word_messages(counts)",
        "applications.words.vectors.neighbours(vectors)",
        "applications.words.vectors.ppmi(counts)",
        "applications.words.vectors.singular_vectors(matrix)",
    ),
    # any shape, entry by entry; without a corruption any tensor is its own
    "scalar empty withnan rank size zerowidth": ("core.Objective.corrupted(x)",),
    # numbers within bounds
    "2.5 scalar huge": (
        "concrete.relaxed_one_hot(temperature)",
        "claims.verify(below)",
        "claims.verify(at_most)",
    ),
    # numbers within bounds
    "-1 0": ("corruptions.salt_and_pepper(low)",),
    # numbers within bounds
    "0 2.5 scalar huge": (
        "corruptions.salt_and_pepper(high)",
        "theory.score.Mixture(scale)",
    ),
    # in every step of training: NaN goes through, and the loss that is NaN is refused
    "withnan": (
        "distances.bernoulli(reconstruction)",
        "distances.squared_error(reconstruction)",
        "distances.squared_error(target)",
        "boltzmann.rbm.RBM.energy(v)",
        "boltzmann.rbm.RBM.energy(h)",
    ),
    # the loss that is NaN is refused; of an image only the size counts
    "withnan size": (
        "distances.categorical(reconstruction)",
        "applications.compression.rate_distortion.bits_per_pixel(image)",
    ),
    # layers, counted from either end; which there are is seen in the pass
    "-1 0 huge": (
        "distances.categorical(ignore)",
        "penalties.activity(layer)",
        "penalties.sparsity(layer)",
    ),
    # numbers within bounds
    "-1 0 matrix": ("claims.verify(above)", "claims.verify(at_least)"),
    # numbers, 0 or more, that may be too large for what they are used on
    "2.5 0 huge": ("theory.score.Mixture.log_density(sigma)",),
    "0 2.5": (
        "theory.score.Mixture.score(sigma)",
        "theory.score.linear_denoiser(sigma)",
        "theory.score.linear_denoising_loss(sigma)",
        "applications.popularity.time_split(gap)",
    ),
    # any shape, entry by entry
    "scalar empty rank size zerowidth": (
        "concrete.relaxed_one_hot(logits)",
        "applications.anomaly.robust.group_soft_threshold(s)",
        "applications.anomaly.robust.soft_threshold(s)",
    ),
    # distances of any kind, corners of boxes; of an image only the size counts
    "fractions": (
        "metrics.precision_at_k(distances)",
        "metrics.mean_average_precision(distances)",
        "applications.compression.rate_distortion.bits_per_pixel(image)",
        "applications.detection.overlap(a)",
        "applications.detection.overlap(b)",
    ),
    # any bytes
    "bytes": ("applications.compression.rate_distortion.bits_per_pixel(data)",),
    # images, and batches of them, of any size
    "rank size": ("applications.detection.standardised(images)",),
    # any number of messages of any length
    "empty size zerowidth": (
        "applications.molecules.model.Alphabet.decode(messages)",
        "applications.translation.model.Vocabulary.decode(symbols)",
    ),
    "empty size": ("hashing.pack(bits)",),
    # numbers of entries, of which some or none are there
    "emptylist empty size zerowidth": ("applications.retrieval.faiss.FaissIndex.remove(ids)",),
}
for words, arguments in {
    "emptylist array": "hidden_layer_sizes",
    "0": "epochs random_state verbose",
    "2.5": "lr",
    "huge": "batch_size n_iter_no_change verbose",
    "true": "early_stopping verbose",
}.items():
    TAKEN[words] = (
        *TAKEN.get(words, ()),
        *(
            f"estimators.{kind}({argument})"
            for kind in (
                "detector.AutoencoderDetector",
                "transformer.AutoencoderTransformer",
                "selector.ConcreteFeatureSelector",
                "hasher.SemanticHashTransformer",
            )
            for argument in arguments.split()
        ),
    )
TAKEN["0 2.5 huge"] = (
    *TAKEN.get("0 2.5 huge", ()),
    "estimators.hasher.SemanticHashTransformer(sigma)",
)

# what is tried in the place of each argument


def nothing(*args, **named):
    """A function that returns nothing."""


class Thing:
    """A class of anything."""

    def __init__(self, *args, **named):
        pass


class Layer(nn.Module):
    """A module that gives back what it is given."""

    def forward(self, *args, **named):
        return args[0] if args else None


WRONG = {
    "none": None,
    "text": "nonsense",
    "bytes": b"nonsense",
    "nested": [None],
    "emptylist": [],
    "dict": {"a": None},
    "function": nothing,
    "class": Thing,
    "layer": Layer(),
    "module": math,
    "nan": math.nan,
    "inf": math.inf,
    "-1": -1,
    "0": 0,
    "2.5": 2.5,
    "true": True,
    "imaginary": 1j,
    "scalar": torch.tensor(2.0),
    "object": object(),
    "huge": 10**15,
}
ARRAYS = {
    "empty": lambda x: x[:0],
    "withnan": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 0, math.nan, x),
    "rank": lambda x: x[None, None, None],
    "size": lambda x: np.concatenate((x, x), -1)[..., :-1],
    "complex": lambda x: x.astype(complex),
    "objects": lambda x: np.array([None] * x.size, object).reshape(x.shape),
    "texts": lambda x: np.full(x.shape, "a"),
    "masked": lambda x: np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 0),
    "zerowidth": lambda x: x[..., :0],
    "meta": lambda x: torch.from_numpy(x).to("meta"),
    "sparse": lambda x: torch.from_numpy(x).to_sparse(),
    "quantised": lambda x: torch.quantize_per_tensor(
        torch.from_numpy(x).float(), 0.1, 0, torch.quint8
    ),
    "nested": lambda x: torch.nested.nested_tensor(list(torch.from_numpy(x))),
}
#: The same numbers in forms that are refused by name or rightly taken, here or there.
FORMS = {
    "bfloat16": lambda x: torch.from_numpy(x).bfloat16(),
    "float8": lambda x: torch.from_numpy(x).to(torch.float8_e4m3fn),
    "gradients": lambda x: torch.from_numpy(x).float().requires_grad_(),
    "bigendian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "longdouble": lambda x: x.astype(np.longdouble),
    "backwards": lambda x: x[::-1].copy()[::-1],
}
GENERIC = {
    "array": np.zeros(0),
    "nanarray": np.array([math.nan]),
    "matrix": np.zeros((1, 1, 1, 1)),
    "complexarray": np.array([1j]),
    "objectarray": np.array([None], object),
}


def fractions(valid):
    """Whole numbers, in whatever they come, a half too large; None where there are none."""
    if isinstance(valid, torch.Tensor | np.ndarray):
        whole = str(valid.dtype).removeprefix("torch.").startswith(("int", "uint"))
        return valid + 0.5 if whole and len(valid) else None
    if isinstance(valid, list | tuple):
        found = [fractions(entry) for entry in valid]
        if any(entry is not None for entry in found):
            pairs = zip(valid, found, strict=True)
            return type(valid)(old if new is None else new for old, new in pairs)
        return None
    return valid + 0.5 if type(valid) is int else None


def replacements(valid):
    """What is put in the place of a valid value, by name; the last two are right."""
    yield from WRONG.items()
    if (cut := fractions(valid)) is not None:
        yield "fractions", cut
    if isinstance(valid, int | float) and not isinstance(valid, bool):
        yield "numpy", (np.int64 if isinstance(valid, int) else np.float64)(valid)
    array = valid.numpy() if isinstance(valid, torch.Tensor) else valid
    if not isinstance(array, np.ndarray):
        yield from GENERIC.items()
        return
    for name, change in ARRAYS.items():
        changed = change(array)
        plain = type(changed) is np.ndarray and changed.dtype.kind not in "OU"
        if isinstance(valid, torch.Tensor) and plain:
            changed = torch.from_numpy(np.ascontiguousarray(changed))
        yield name, changed
    for name, change in FORMS.items():
        yield name, change(array)


def built(name):
    """A function and arguments that it takes."""
    made = CASES[name]()
    return made if isinstance(made, tuple) else (PUBLIC[name], made)


def outcome(function, given):
    """Whether it was taken, refused as the contract has it, or what came in place of that."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            function(**given)
    except ValueError as error:
        said = str(error).lower()
        if "got" in said and "expected" in said:
            return "refused"
        return f"unclear: {error}"
    except (ImportError, OSError, FloatingPointError, AssertionError) as error:
        # a missing package or file, a training that leaves the numbers, a claim that does not hold
        return "refused" if str(error) else "unclear"
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"
    finally:
        plt.close("all")
    return "taken"


def rightly_taken(name, parameter):
    """Words of the values that are right for a parameter."""
    kind = str(inspect.signature(PUBLIC[name]).parameters.get(parameter, ""))
    right = {"numpy", *FORMS}
    right |= {"none"} if "None" in kind.partition("=")[0] else set()
    right |= {"true"} if re.search(r": '?bool", kind) else set()
    cell = f"{name}({parameter})"
    return right.union(*(words.split() for words, cells in TAKEN.items() if cell in cells))


@functools.cache
def tried(name):
    """What came of each value in the place of each argument: {(parameter, word): outcome}."""
    found = {}
    # a folder of its own, where files are written whose name is one of the wrong values
    with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):
        for parameter, valid in built(name)[1].items():
            for word, value in replacements(valid):
                if re.fullmatch(LEFT_OUT, f"{name}({parameter}) {word}"):
                    continue
                function, given = built(name)
                found[parameter, word] = outcome(function, {**given, parameter: value})
    return found


def judged(name):
    """The cells that are not as they should be, with what is wrong."""
    wrong = {}
    for (parameter, word), came in tried(name).items():
        right = word in rightly_taken(name, parameter)
        if came not in ("taken", "refused"):
            wrong[parameter, word] = came
        elif came == "taken" and not right:
            wrong[parameter, word] = "wrongly taken"
        elif came == "refused" and right and word not in ("numpy", "none", *FORMS):
            wrong[parameter, word] = "wrongly refused"
    return wrong


def test_nothing_public_is_missing():
    exempt = [name for name in PUBLIC if any(re.match(p, name) for p in EXEMPT.values())]
    assert set(PUBLIC) - set(exempt) == set(CASES)
    for pattern in EXEMPT.values():
        assert any(re.match(pattern, name) for name in PUBLIC)
    cells = {f"{name}({parameter})" for name in CASES for parameter in built(name)[1]}
    assert {cell for taken in TAKEN.values() for cell in taken} <= cells


@pytest.mark.parametrize("name", CASES)
def test_each_value_is_refused_by_the_contract_or_rightly_taken(name):
    function, given = built(name)
    asked = {
        parameter.name
        for parameter in inspect.signature(PUBLIC[name]).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    } - {"self", "cls"}
    if name.startswith("estimators."):
        # which scikit-learn hands over, and nothing here looks at
        asked -= {"y"}
    assert asked <= set(given)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            function(**given)
    except ImportError as error:
        pytest.skip(str(error))
    assert judged(name) == {}


def test_the_whole_matrix(capsys):
    came = Counter(word.split()[0] for name in CASES for word in tried(name).values())
    wrong = Counter(word for name in CASES for word in judged(name).values())
    with capsys.disabled():
        print(
            f"\ninputs tried: {came.total()}, refused: {came['refused']}, rightly taken: "
            f"{came['taken'] - wrong['wrongly taken']}, wrongly taken: {wrong['wrongly taken']}, "
            f"raw errors: {wrong.total() - wrong['wrongly taken']}"
        )
    assert came.total() > 10_000
    assert wrong == {}
