from .copies.audit.audit import audit as audit
from .copies.bias import bias as bias, normalised_scores as normalised_scores
from .copies.calibration import calibrate_threshold as calibrate_threshold, flag as flag
from .copies.detectors import Detectors as Detectors
from .copies.kernel_distance import kernel_distance as kernel_distance
from .copies.rates import clustered_rate as clustered_rate, flagged_rate as flagged_rate
from .copies.replication import near_exact as near_exact, position as position
from .copies.search import top_k as top_k
from .models.clap import load_clap as load_clap
from .models.codec import load_codec as load_codec
from .models.vocoder import load_vocoder as load_vocoder
from .sound.audio_file import read_clip as read_clip
from .sound.mel import log_mel as log_mel
from .sound.profiles import load_profile as load_profile
from .sound.transforms import TRANSFORMS as TRANSFORMS, apply_transform as apply_transform
