"""A policy in the Hugging Face Trainer: one callback. The model is a small ViT from a configuration.

pip install 'autodropout[huggingface]' scikit-learn
python examples/huggingface_trainer.py
"""

from pathlib import Path

import torch
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed

import autodropout as ad
from autodropout.integrations.huggingface import PolicyCallback
from digit_data import images

WORDS = ad.TokenPattern(size=2, stride=2, share_c=True, rate=0.1)
POLICY = ad.Policy({"role:output": WORDS, "role:ffn": WORDS}, schedule="ramp")


def main(epochs: int = 3, folder: Path = Path("huggingface_trainer")) -> torch.nn.Module:
    """Train on handwritten digits; ``train(resume_from_checkpoint=)`` goes on with the same masks."""
    set_seed(0)
    train, test = ([{"pixel_values": x, "labels": y} for x, y in part] for part in images())
    model = ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=2,
            num_channels=1,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            num_labels=10,
        )
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=25,
        learning_rate=3e-3,
        logging_strategy="no",
        save_strategy="epoch",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    # existing="off": the policy instead of dropout that the model may have of its own, until the end
    callback = PolicyCallback(POLICY, existing="off", seed=0)
    trainer = Trainer(model, arguments, train_dataset=train, callbacks=[callback])
    trainer.train()

    found = trainer.predict(test)
    print(f"test accuracy {(found.predictions.argmax(1) == found.label_ids).mean():.3f}")
    return model


if __name__ == "__main__":
    main()
