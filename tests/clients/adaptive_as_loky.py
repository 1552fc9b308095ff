"""A plugin for joblib's own tests: our backend is there, and in the place of its default one."""

import joblib.parallel

from adaptive_exec.clients.joblib import AdaptiveBackend

joblib.parallel.BACKENDS["loky"] = AdaptiveBackend
