"""`import_timm` in processes of its own, since what it cures happens at the first import."""

import subprocess
import sys


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_timm_imports_in_many_threads_at_once_and_again() -> None:
    printed = _run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from plantclef_assets.models.timm_import import import_timm\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    modules = list(pool.map(lambda _: import_timm(), range(8)))\n"
        "import timm, torchvision.transforms.v2\n"
        "print(all(module is timm for module in modules), import_timm() is timm)\n"
    )
    assert printed.split() == ["True", "True"]


def test_small_vit_is_known_to_timm_and_works_at_other_sizes() -> None:
    printed = _run(
        "import plantclef_assets.models.small_vit\n"
        "import timm, torch\n"
        "model = timm.create_model('vit_mini_patch14_reg4_dinov2', num_classes=0, dynamic_img_size=True)\n"
        "print(*(model.forward_features(torch.zeros(1, 3, side, side)).shape[1] for side in (126, 84)))\n"
        "print(model.pretrained_cfg['input_size'], model.pretrained_cfg['interpolation'])\n"
    )
    assert printed.splitlines() == ["86 41", "(3, 126, 126) bicubic"]


def test_other_errors_of_torchvision_are_not_hidden() -> None:
    printed = _run(
        "import importlib.abc, sys\n"
        "class Broken(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torchvision':\n"
        "            raise RuntimeError('torchvision is damaged')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "from plantclef_assets.models.timm_import import import_timm\n"
        "try:\n"
        "    import_timm()\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    assert printed.strip() == "torchvision is damaged"
