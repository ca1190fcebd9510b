"""What users write, for the type checker alone (`make lint`); nothing here is run."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import aebook
from aebook import Autoencoder, History, Objective
from aebook.applications.retrieval import FaissIndex, SemanticHasher
from aebook.estimators import AutoencoderDetector, AutoencoderTransformer
from aebook.theory.likelihood import ImportanceWeighted, elbo

x = torch.rand(100, 784)
objective: Objective = aebook.variants.plain((784, 32))
history: History = aebook.fit(objective, x, epochs=1)
aebook.fit(objective, x.numpy(), epochs=1)
aebook.fit(objective, (x, x), epochs=1, validation=(x.numpy(), x.numpy()), patience=2)
aebook.fit(objective, TensorDataset(x), epochs=1)
aebook.fit(objective, DataLoader(TensorDataset(x), batch_size=10), epochs=1)
aebook.fit(ImportanceWeighted(aebook.variants.variational((784, 8))), x, epochs=1)
losses: dict[str, float] = aebook.evaluate(objective, x)
codes: Tensor = objective.model.encode(x)

networks = aebook.networks.convolutional((1, 28, 28), (8,), 4, posterior=True)
vae = aebook.variants.variational(networks, distance=aebook.distances.Gaussian())
bound: Tensor = elbo(vae, x)
own = Objective(Autoencoder(nn.Linear(784, 8), nn.Linear(8, 784)), lambda x: x / 2)
own = aebook.variants.sparse((nn.Linear(784, 8), nn.Linear(8, 784)), 0.1, kind="l1")
aebook.variants.denoising((784, 32), aebook.corruptions.masking(0.3), activation=nn.Tanh)

aebook.save(objective.model, "model.safetensors")
model: Autoencoder = aebook.load("model.safetensors")

index = FaissIndex(8)
index.add(SemanticHasher(objective.model, x).encode(x))
distances, ids = index.search(SemanticHasher(objective.model, x).encode(x), k=3)

table = np.random.default_rng(0).random((100, 5))
small: np.ndarray = AutoencoderTransformer(2).fit_transform(table)
flags: np.ndarray = AutoencoderDetector().fit(table).predict(table)
