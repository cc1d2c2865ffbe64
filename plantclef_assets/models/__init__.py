"""Models: backbones, embeddings, fine-tuning and classifiers."""
