"""The contract, tried by a matrix: every public function with every kind of wrong argument.

For each there is one call that works. Then each of its arguments is replaced, one at a time, by
each of the values below. What comes back is an error of the contract, which says what came and
what was expected; or the value is taken, and then :data:`TAKEN` or the argument's annotation says
that this is right.
"""

import functools
import inspect
import math
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from test_public import METHODS, OBJECTS
from torch import nn

import aebook
from aebook import bottlenecks, distances, networks, variants
from aebook.applications import (
    compression,
    images,
    molecules,
    popularity,
    retrieval,
    translation,
)
from aebook.boltzmann import RBM
from aebook.theory import linear, score

# every public function, class and method once, by the shortest of its names
MADE = {
    f"{name}.{attribute}": getattr(cls, attribute)
    for name, cls in OBJECTS.items()
    if inspect.isclass(cls)
    for attribute, value in vars(cls).items()
    if isinstance(value, classmethod) and not attribute.startswith("_")
}
PUBLIC = {
    f"{thing.__module__}.{thing.__qualname__}".removeprefix("aebook."): thing
    for thing in {**OBJECTS, **METHODS, **MADE}.values()
}

#: What needs no entry: the reason, and which they are.
EXEMPT = {
    "machinery that no user names": (
        r"theory\.likelihood\.(draws|posterior_of|weighted_bound)$|"
        r"_internal\.|processes\.|data\.|inference\.(in_pieces|evaluating)$|training\.reach\.|core\.check_weighable$|training\.history\.Mean"
        r"|training\.checkpoints\.|applications\.anomaly\.posteriors\."
        r"|applications\.retrieval\.(scan|table)\.|estimators\.network\."
        r"|storage\.architecture\.|datasets\.verified\."
    ),
    "takes no arguments": (
        r".*\.(arguments|extra_repr|buckets)$|bottlenecks\.Gaussian$"
        r"|bottlenecks\.Posterior\.(sample|kl)$|datasets\..*\.(hanzi|nouns|online_news|satellite)$"
    ),
    "a result, whose fields nobody gives": (
        r".*\.(Decomposition|Found|Neighbours|Recalled|Scores|Properties|SampleQuality|Interval"
        r"|Window|Estimate|PrecisionRecall|IntrinsicDimension|Record|Loss|Pass|Posterior|Glosses"
        r"|Images|Nouns|Posts|Segments|Table|LinearHasher|PrincipalComponents|LinearDenoiser"
        r"|History|History\.append)$|.*rate_distortion\.Curve$"
    ),
    "runs in every step of training, on what the model gives it": (
        r"(bottlenecks|networks|sparse|distances|concrete|recurrent)\.[A-Z]\w+\."
        r"(forward|top|layers|right_inverse|posterior|log_ratio)$|training\.schedules\."
        r"|core\.averaged$|penalties\.(kl_to_prior|weight_decay)$|boltzmann\.units\.|sparse\.sparse_linear$"
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


def index(kind=retrieval.HammingIndex):
    made = kind(16)
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
        **dict(scale=True, device="cpu"),
        **options,
    }


def folder():
    path = Path(tempfile.gettempdir()) / "aebook-contract"
    if not path.is_dir():
        from PIL import Image

        path.mkdir()
        Image.fromarray(picture()).save(path / "0.png")
    return path


def file(name):
    return folder().parent / f"aebook-contract-{name}"


@functools.cache
def model_file():
    aebook.save(trained(), file("model.safetensors"))
    return file("model.safetensors")


CURVE = compression.rate_distortion.Curve(
    np.array([0.1, 0.2, 0.4, 0.8]), np.array([30.0, 33.0, 36.0, 39.0])
)
BETTER = compression.rate_distortion.Curve(CURVE.rate * 0.9, CURVE.quality)
ENCODE, DECODE = compression.rate_distortion.pillow("JPEG", quality=50)
METHODS_OF = {"progress": False, "device": "cpu"}
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
    "core.Objective.forward": lambda: (plain(), dict(x=data(), target=None)),
    "core.layers": lambda: dict(encoder=trained().encoder, x=data()),
    "training.loop.evaluate": lambda: dict(objective=plain(), data=data(), batch_size=4, seed=0),
    "training.loop.fit": lambda: dict(
        objective=plain(),
        data=data(),
        epochs=1,
        batch_size=4,
        validation=None,
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
        progress=False,
    ),
    "training.full_batch.lbfgs": lambda: dict(
        objective=plain(), data=data(), iterations=2, tolerance=0.9
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
        shape=(1, 8, 8), channels=(2,), code=3, activation=nn.ReLU, output=None, posterior=False
    ),
    "recurrent.Encoder": lambda: dict(
        vocabulary=6, code=3, embedding=4, hidden=4, bidirectional=True, attention=False
    ),
    "recurrent.Decoder": lambda: dict(
        vocabulary=6, code=3, length=5, embedding=4, hidden=4, attention=False, forget=0.0
    ),
    "recurrent.Decoder.sample": lambda: (
        writer().decoder.sample,
        dict(z=torch.zeros(2, 4), temperature=1.0, generator=None),
    ),
    "recurrent.Decoder.beam": lambda: (
        writer().decoder.beam,
        dict(z=torch.zeros(2, 4), width=2, alpha=1.0),
    ),
    "recurrent.Decoder.alignment": lambda: (
        translator().model.decoder.alignment,
        dict(z=torch.ones(3, 5, 4), target=vocabulary().encode(SENTENCES)),
    ),
    "sparse.SparseLinear": lambda: dict(n=4, m=3, bias=True),
    "sparse.SparseTransposed": lambda: dict(tied=networks.Transposed(nn.Linear(6, 2), True)),
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
    "distances.bernoulli": lambda: dict(reconstruction=data(), target=data()),
    "distances.categorical": lambda: dict(
        reconstruction=data(), target=torch.zeros(8, dtype=torch.long), ignore=None
    ),
    "distances.squared_error": lambda: dict(reconstruction=data(), target=data()),
    "penalties.activity": lambda: dict(order=1, layer=None),
    "penalties.sparsity": lambda: dict(target=0.1, kind="kl", over="data", layer=None),
    "jacobian.by_autograd": lambda: dict(encoder=trained().encoder, x=data(), probes=None),
    "jacobian.contractive": lambda: dict(kind="hutchinson", probes=1),
    "jacobian.jacobian": lambda: dict(encoder=trained().encoder, x=data()),
    "jacobian.squared_norm": lambda: dict(
        encoder=trained().encoder, x=data(), kind="hutchinson", probes=1
    ),
    "variants.binary": lambda: dict(
        widths=(6, 4, 2), kind="noise", sigma=1.0, centred=True, tied=False, **NETWORK, **COMMON
    ),
    "variants.concrete": lambda: dict(widths=(6, 4, 2), **NETWORK, **COMMON),
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
        widths=(6, 2), bias=True, tied=False, corruption=None, penalties=None
    ),
    "variants.plain": lambda: dict(widths=(6, 4, 2), code=None, tied=False, **NETWORK, **COMMON),
    "variants.sparse": lambda: dict(
        widths=(6, 4),
        weight=0.1,
        target=0.1,
        kind="kl",
        over="data",
        tied=False,
        **NETWORK,
        **COMMON,
    ),
    "variants.variational": lambda: dict(
        widths=(6, 4, 2), beta=1.0, **NETWORK, **{**COMMON, "distance": distances.bernoulli}
    ),
    # what is seen and measured
    "metrics.dead_units": lambda: dict(codes=data()),
    "metrics.fvu": lambda: dict(reconstruction=data() * 0.9, target=data()),
    "metrics.l0": lambda: dict(codes=data()),
    "metrics.mean_average_precision": lambda: dict(
        relevant=codes() > 127, distances=codes(), total=np.full(8, 2)
    ),
    "metrics.precision_at_k": lambda: dict(relevant=codes() > 127, k=1, distances=codes()),
    "metrics.precision_recall": lambda: dict(distances=codes(), relevant=codes() > 127),
    "metrics.psnr": lambda: dict(restored=photograph(), image=photograph()),
    "plots.codes": lambda: dict(
        z=data()[:, :2], labels=np.arange(8) % 2, names=["a", "b"], ax=None
    ),
    "plots.curves": lambda: dict(history=aebook.History({"loss": [1.0]}), ax=None),
    "plots.images": lambda: dict(
        rows={"a": torch.rand(2, 16)}, shape=(4, 4), symmetric=False, scale=0.5
    ),
    "claims.verify": lambda: dict(
        what="a", value=1.0, above=0.0, below=2.0, at_least=0.0, at_most=2.0, equal=1.0, within=0.1
    ),
    "timings.recorded": lambda: dict(name="peers"),
    # theory
    "theory.dimension.maximum_likelihood": lambda: dict(x=data(), k=3),
    "theory.dimension.two_nn": lambda: dict(x=data()),
    "theory.likelihood.ImportanceWeighted": lambda: dict(objective=vae(), samples=2),
    "theory.likelihood.ImportanceWeighted.forward": lambda: (
        aebook.theory.likelihood.ImportanceWeighted(vae(), 2),
        dict(x=data(), target=None),
    ),
    "theory.likelihood.active_units": lambda: dict(model=vae().model, x=data(), threshold=0.01),
    "theory.likelihood.elbo": lambda: dict(objective=vae(), x=data(), samples=1, seed=0),
    "theory.likelihood.importance_weighted_bound": lambda: dict(
        objective=vae(), x=data(), samples=2, chunk=8, seed=0
    ),
    "theory.likelihood.interpolate": lambda: dict(
        model=trained(), a=data()[:2], b=data()[2:4], steps=3
    ),
    "theory.likelihood.sample": lambda: dict(model=vae().model, n=2, generator=None),
    "theory.linear.affine": lambda: dict(network=affine(), width=6),
    "theory.linear.eckart_young": lambda: dict(x=data(), p=2),
    "theory.linear.principal_angles": lambda: dict(a=data()[:6, :2], b=data()[:6, 2:4]),
    "theory.linear.principal_components": lambda: dict(x=data(), p=2),
    "theory.linear.recover_components": lambda: dict(model=tied_by_its_loss(), tolerance=0.05),
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
    "boltzmann.rbm.RBM.gibbs": lambda: (RBM(6, 2).gibbs, dict(v=data(), steps=1)),
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
    "datasets.folder.ImageFolder": lambda: dict(folder=folder(), size=8, grey=False),
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
        contamination=0.1,
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
                dict(X=data().numpy()),
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
    "applications.anomaly.scores.threshold": lambda: dict(
        scores=data()[:, 0], contamination=0.1, quantile=None
    ),
    "applications.compression.transform.Analysis": lambda: dict(step=0.1, hidden=4, kept=(4, 1)),
    "applications.compression.transform.Synthesis": lambda: dict(step=0.1, hidden=4, kept=(4, 1)),
    "applications.compression.transform.Quantiser": lambda: dict(channels=3, kind="noise"),
    "applications.compression.transform.slope": lambda: dict(step=0.1),
    "applications.compression.transform.transform_coder": lambda: dict(
        step=0.1, photographs=torch.rand(1, 3, 32, 32), hidden=4, kept=(4, 1)
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
    "applications.images.filters.bm3d": lambda: dict(noisy=photograph(), sigma=0.1),
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
        alphabet=9, code=4, length=8, hidden=8, beta=1.0, forget=0.0
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
    "applications.retrieval.index.HammingIndex": lambda: dict(bits=16, address_bits=4),
    "applications.retrieval.faiss.FaissIndex": lambda: dict(bits=16, kind="flat"),
    **{
        f"applications.retrieval.{module}.{kind}.{method}": (
            lambda kind=kind, method=method, given=given: (
                getattr(index(getattr(retrieval, kind)), method),
                given(),
            )
        )
        for module, kind in (("index", "HammingIndex"), ("faiss", "FaissIndex"))
        for method, given in {
            "add": lambda: dict(codes=codes(), ids=np.arange(20, 28)),
            "remove": lambda: dict(ids=np.arange(2)),
            "search": lambda: dict(queries=codes()[:2], k=3),
            "within": lambda: dict(queries=codes()[:2], radius=3),
            "save": lambda: dict(path=file("index")),
            **(
                {}
                if kind == "FaissIndex"
                else {
                    "scan": lambda: dict(queries=codes()[:2], radius=3),
                    "addresses": lambda: dict(code=codes()[0], radius=1),
                    "bucket": lambda: dict(address=0),
                }
            ),
        }.items()
    },
    "applications.retrieval.index.HammingIndex.load": lambda: dict(path=index_file("HammingIndex")),
    "applications.retrieval.faiss.FaissIndex.load": lambda: dict(path=index_file("FaissIndex")),
    "applications.retrieval.hashers.SemanticHasher": lambda: dict(model=trained(), x=data()),
    "applications.retrieval.hashers.SemanticHasher.bits": lambda: (
        retrieval.SemanticHasher(trained(), data()).bits,
        dict(x=data()),
    ),
    "applications.retrieval.hashers.SemanticHasher.encode": lambda: (
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
    "applications.retrieval.codes.pack": lambda: dict(bits=codes() > 99),
    "applications.retrieval.codes.unpack": lambda: dict(codes=codes(), bits=16),
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
    ),
    "applications.translation.model.Translator.objective": lambda: (
        translator().objective,
        dict(hide=0.1),
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
    "applications.words.taxonomy.common_ancestor": lambda: dict(
        first=(2,), second=(3,), parents=PARENTS
    ),
    "applications.words.taxonomy.depths": lambda: dict(parents=PARENTS),
    "applications.words.taxonomy.path_similarity": lambda: dict(senses=SENSES, parents=PARENTS),
    "applications.words.taxonomy.wu_palmer": lambda: dict(senses=SENSES, parents=PARENTS),
    "applications.words.vectors.cooccurrence": lambda: dict(
        texts=SENTENCES, words=["a", "house"], contexts=None, window=2, sided=False
    ),
    "applications.words.vectors.messages": lambda: dict(
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
    "applications.words.vectors.word_autoencoder": lambda: dict(contexts=6, p=2, hidden=0.5),
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
def index_file(kind):
    index(getattr(retrieval, kind)).save(file(kind))
    return file(kind)


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
}
GENERIC = {
    "array": np.zeros(0),
    "nanarray": np.array([math.nan]),
    "matrix": np.zeros((1, 1, 1, 1)),
    "complexarray": np.array([1j]),
    "objectarray": np.array([None], object),
}


def replacements(valid):
    """Wrong values in the place of a valid one, by name."""
    yield from WRONG.items()
    array = valid.numpy() if isinstance(valid, torch.Tensor) else valid
    if not isinstance(array, np.ndarray):
        yield from GENERIC.items()
        return
    for name, change in ARRAYS.items():
        changed = change(array)
        if isinstance(valid, torch.Tensor) and changed.dtype.kind not in "OU":
            changed = torch.from_numpy(np.ascontiguousarray(changed))
        yield name, changed


def called(case):
    function, given = built if isinstance(built := CASES[case](), tuple) else (PUBLIC[case], built)
    return function, given


def outcome(function, given):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**given)
    except ValueError as error:
        said = str(error).lower()
        fine = "got" in said and "expected" in said
        return "refused" if fine else f"unclear {type(error).__name__}: {error}"
    except (ImportError, OSError, AssertionError) as error:
        return "refused" if str(error) else f"unclear {type(error).__name__}"
    except Exception as error:
        return f"raw {type(error).__name__}: {str(error).splitlines()[:1]}"
    finally:
        plt.close("all")
    return "taken"
