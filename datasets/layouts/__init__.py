"""Which file of a data set is where. `LAYOUTS` has every layout by the name that --dataset takes."""

from datasets.layouts.blended import BlendedScenes
from datasets.layouts.dtu import DtuTraining
from datasets.layouts.general import AsWritten, GeneralScans
from datasets.layouts.tanks import TanksScans

LAYOUTS = {
    "dtu_yao": DtuTraining,
    "general_eval": GeneralScans,
    "blended": BlendedScenes,
    "tanks": TanksScans,
    "as_written": AsWritten,
}
