"""What people have scikit-learn do with `n_jobs`, each once in a loop and once on our backend.

    python -m tests.clients.learned          prints a line for each workload: its name and whether
                                             both gave the same, bit for bit

A program of its own: the OpenMP that scikit-learn brings must not be loaded in the tests' process.
Left out is what scikit-learn itself adds up in the order in which threads end (what forests
predict: their trees are compared) or in parts whose number is `n_jobs` (what bagging predicts, LDA,
products of matrices): loky and threads differ from the loop there, too.
"""

import io
import tempfile
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn import (
    calibration,
    cluster,
    compose,
    covariance,
    datasets,
    decomposition,
    ensemble,
    feature_selection,
    inspection,
    linear_model,
    manifold,
    multiclass,
    multioutput,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn import model_selection as ms
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # makes them importable
from sklearn.metrics import accuracy_score, make_scorer, pairwise_distances

import adaptive_exec.clients.joblib  # noqa: F401  # registers the backend

JOBS = 2
X, Y = datasets.make_classification(
    160, 8, n_informative=5, n_classes=3, n_clusters_per_class=1, random_state=0
)
R, T = datasets.make_regression(160, 8, n_targets=2, noise=3.0, random_state=0)
LARGE = np.tile(X, (110, 1))
"""1.1 MB: it travels once, in one piece of memory that workers map."""
LARGE_Y = np.tile(Y, 110)
LOGISTIC = linear_model.LogisticRegression(max_iter=300)
TREE = tree.DecisionTreeClassifier(max_depth=3, random_state=0)
GRID = {"max_depth": [2, 3], "min_samples_leaf": [1, 4]}


def forest(jobs):
    model = ensemble.RandomForestClassifier(30, oob_score=True, random_state=0, n_jobs=jobs).fit(
        X, Y
    )
    return _trees(model, X), model.feature_importances_, model.oob_decision_function_


def extra_trees(jobs):
    model = ensemble.ExtraTreesRegressor(12, random_state=0, n_jobs=jobs).fit(R, T)
    return _trees(model, R), model.feature_importances_


def embedding(jobs):
    return ensemble.RandomTreesEmbedding(8, random_state=0, n_jobs=jobs).fit_transform(X).toarray()


def isolation_forest(jobs):
    return (
        ensemble
        .IsolationForest(n_estimators=12, random_state=0, n_jobs=jobs)
        .fit(X)
        .score_samples(X)
    )


def bagging(jobs):
    model = ensemble.BaggingClassifier(
        TREE, 40, max_features=0.6, oob_score=True, random_state=0, n_jobs=jobs
    ).fit(X, Y)
    return model.set_params(n_jobs=1).predict_proba(X), model.oob_decision_function_


def stacking(jobs):
    model = ensemble.StackingClassifier([("t", TREE), ("l", LOGISTIC)], n_jobs=jobs).fit(X, Y)
    return model.predict_proba(X), model.transform(X)


def stacked_regression(jobs):
    parts = [("r", linear_model.Ridge()), ("t", tree.DecisionTreeRegressor(random_state=0))]
    return ensemble.StackingRegressor(parts, n_jobs=jobs).fit(R, T[:, 0]).predict(R)


def voting(jobs):
    model = ensemble.VotingClassifier([("t", TREE), ("l", LOGISTIC)], voting="soft", n_jobs=jobs)
    return model.fit(X, Y).predict_proba(X)


def grid_search(jobs):
    return _found(ms.GridSearchCV(TREE, GRID, cv=3, n_jobs=jobs, return_train_score=True))


def random_search(jobs):
    return _found(ms.RandomizedSearchCV(TREE, GRID, n_iter=3, cv=3, random_state=1, n_jobs=jobs))


def halving_search(jobs):
    return _found(ms.HalvingGridSearchCV(TREE, GRID, cv=3, random_state=1, n_jobs=jobs))


def halving_random_search(jobs):
    return _found(
        ms.HalvingRandomSearchCV(TREE, GRID, n_candidates=4, cv=3, random_state=1, n_jobs=jobs)
    )


def a_scorer_without_a_name(jobs):
    weight = 0.5
    scorer = make_scorer(lambda true, said: weight * accuracy_score(true, said))
    return _found(ms.GridSearchCV(TREE, GRID, cv=3, scoring=scorer, n_jobs=jobs))


def nested_jobs(jobs):
    model = ensemble.RandomForestClassifier(6, random_state=0, n_jobs=jobs)
    return _found(ms.GridSearchCV(model, {"max_depth": [2, 4]}, cv=3, n_jobs=jobs))


def cross_val_score(jobs):
    return ms.cross_val_score(LOGISTIC, X, Y, cv=5, n_jobs=jobs)


def cross_val_predict(jobs):
    return ms.cross_val_predict(LOGISTIC, X, Y, cv=5, method="predict_proba", n_jobs=jobs)


def cross_validate(jobs):
    found = ms.cross_validate(
        TREE, X, Y, cv=4, scoring=["accuracy", "f1_macro"], return_estimator=True,
        return_indices=True, return_train_score=True, n_jobs=jobs,
    )  # fmt: skip
    models = [model.predict_proba(X) for model in found.pop("estimator")]
    return models, {name: value for name, value in found.items() if "time" not in name}


def learning_curve(jobs):
    return ms.learning_curve(LOGISTIC, X, Y, cv=3, shuffle=True, random_state=0, n_jobs=jobs)


def validation_curve(jobs):
    return ms.validation_curve(
        TREE, X, Y, param_name="max_depth", param_range=[1, 2, 3], cv=3, n_jobs=jobs
    )


def permutation_test(jobs):
    return ms.permutation_test_score(
        TREE, X, Y, cv=3, n_permutations=6, random_state=0, n_jobs=jobs
    )


def permutation_importance(jobs):
    return inspection.permutation_importance(
        TREE.fit(X, Y), X, Y, n_repeats=4, random_state=0, n_jobs=jobs
    ).importances


def partial_dependence(jobs):
    model = ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0).fit(R, T[:, 0])
    calls = (
        joblib.delayed(inspection.partial_dependence)(model, R, [k], grid_resolution=10)
        for k in range(4)
    )
    return [(one["average"], one["grid_values"]) for one in joblib.Parallel(n_jobs=jobs)(calls)]


def logistic_cv(jobs):
    model = linear_model.LogisticRegressionCV(
        Cs=4, cv=3, max_iter=300, scoring="accuracy", use_legacy_attributes=False, n_jobs=jobs,
        l1_ratios=(0.0,),
    ).fit(X, Y)  # fmt: skip
    return model.coef_, model.C_, model.predict_proba(X)


def lasso_cv(jobs):
    model = linear_model.MultiTaskLassoCV(alphas=10, cv=3, n_jobs=jobs).fit(R, T)
    one = linear_model.ElasticNetCV(l1_ratio=[0.3, 0.9], alphas=10, cv=3, n_jobs=jobs)
    return model.coef_, model.mse_path_, one.fit(R, T[:, 0]).mse_path_


def least_angle_cv(jobs):
    model = linear_model.LassoLarsCV(cv=3, n_jobs=jobs).fit(R, T[:, 0])
    pursuit = linear_model.OrthogonalMatchingPursuitCV(cv=3, n_jobs=jobs).fit(R, T[:, 0])
    return model.coef_, model.mse_path_, pursuit.coef_


def theil_sen(jobs):
    model = linear_model.TheilSenRegressor(max_subpopulation=200, random_state=0, n_jobs=jobs).fit(
        R[:, :3], T[:, 0]
    )
    return model.coef_


def gradient_descent(jobs):
    model = linear_model.SGDClassifier(max_iter=30, tol=None, random_state=0, n_jobs=jobs)
    return model.fit(X, Y).coef_


def one_against_rest(jobs):
    model = multiclass.OneVsRestClassifier(LOGISTIC, n_jobs=jobs).fit(X, Y)
    return model.predict_proba(X), model.decision_function(X)


def one_against_one(jobs):
    model = multiclass.OneVsOneClassifier(svm.LinearSVC(random_state=0), n_jobs=jobs).fit(X, Y)
    code = multiclass.OutputCodeClassifier(TREE, random_state=0, n_jobs=jobs).fit(X, Y)
    return model.decision_function(X), code.predict(X)


def many_outputs(jobs):
    model = multioutput.MultiOutputRegressor(linear_model.Ridge(), n_jobs=jobs).fit(R, T)
    return model.predict(R)


def columns(jobs):
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(8)]).assign(kind=Y.astype(str))
    work = compose.ColumnTransformer(
        [
            ("scale", preprocessing.StandardScaler(), ["x0", "x1"]),
            ("bin", preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
             ["x2", "x3"]),
            ("kind", preprocessing.OneHotEncoder(), ["kind"]),
        ],
        remainder="passthrough", sparse_threshold=0, n_jobs=jobs,
    )  # fmt: skip
    return work.fit_transform(frame), work.get_feature_names_out()


def columns_as_a_frame(jobs):
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(8)])
    union = pipeline.FeatureUnion(
        [("p", decomposition.PCA(2)), ("s", preprocessing.StandardScaler())], n_jobs=jobs
    )
    with sklearn.config_context(transform_output="pandas"):
        made = union.fit_transform(frame)
    return made.to_numpy(), list(made.columns), [str(kind) for kind in made.dtypes]


def neighbour_embedding(jobs):
    model = manifold.TSNE(
        2, perplexity=10, max_iter=250, init="pca", method="exact", random_state=0, n_jobs=jobs
    )
    return model.fit_transform(X[:80])


def embedding_by_neighbours(jobs):
    near = neighbors.KNeighborsTransformer(n_neighbors=12, n_jobs=jobs).fit_transform(X)
    local = manifold.LocallyLinearEmbedding(
        n_neighbors=8, eigen_solver="dense", random_state=0, n_jobs=jobs
    )
    return near.toarray(), local.fit_transform(X), manifold.Isomap(n_jobs=jobs).fit_transform(X)


def nearest(jobs):
    found = []
    for algorithm in ("brute", "kd_tree", "ball_tree"):
        model = neighbors.NearestNeighbors(algorithm=algorithm, n_jobs=jobs).fit(X)
        found += [model.kneighbors(X), model.radius_neighbors_graph(X, 1.5).toarray()]
    vote = neighbors.KNeighborsClassifier(n_jobs=jobs).fit(X, Y)
    return found, vote.predict_proba(X)


def outliers(jobs):
    return neighbors.LocalOutlierFactor(n_jobs=jobs).fit(X).negative_outlier_factor_


def distances(jobs):
    return [pairwise_distances(X, metric=kind, n_jobs=jobs) for kind in ("cityblock", "chebyshev")]


def clusters(jobs):
    return [
        cluster.DBSCAN(eps=1.5, n_jobs=jobs).fit(X).labels_,
        cluster.OPTICS(n_jobs=jobs).fit(X[:40]).reachability_,
        cluster.MeanShift(bandwidth=3.0, n_jobs=jobs).fit(X[:40]).cluster_centers_,
        cluster.SpectralClustering(
            3, affinity="nearest_neighbors", assign_labels="discretize", random_state=0,
            n_jobs=jobs,
        ).fit(X).labels_,
    ]  # fmt: skip


def elimination(jobs):
    by_model = feature_selection.RFECV(TREE, cv=3, n_jobs=jobs).fit(X, Y)
    forward = feature_selection.SequentialFeatureSelector(
        TREE, n_features_to_select=3, cv=3, n_jobs=jobs
    ).fit(X, Y)
    mutual = feature_selection.mutual_info_classif(X, Y, random_state=0, n_jobs=jobs)
    return by_model.ranking_, by_model.cv_results_, forward.support_, mutual


def calibration_of_scores(jobs):
    model = calibration.CalibratedClassifierCV(TREE, cv=3, n_jobs=jobs).fit(X, Y)
    return model.predict_proba(X)


def precision(jobs):
    model = covariance.GraphicalLassoCV(alphas=[0.3, 0.6], cv=3, n_jobs=jobs).fit(X)
    return model.precision_, model.alpha_


def dictionary(jobs):
    model = decomposition.DictionaryLearning(
        4, max_iter=3, transform_algorithm="lasso_lars", random_state=0, n_jobs=jobs
    )
    return model.fit_transform(X)


def large_data(jobs):
    return ms.cross_val_score(TREE, LARGE, LARGE_Y, cv=3, n_jobs=jobs)


def mapped_data(jobs):
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "x.joblib"))
        joblib.dump(LARGE, path)
        mapped = joblib.load(path, mmap_mode="r")
        model = ensemble.RandomForestClassifier(4, max_depth=4, random_state=0, n_jobs=jobs)
        scores = ms.cross_val_score(TREE, mapped, LARGE_Y, cv=3, n_jobs=jobs)
        return scores, _trees(model.fit(mapped, LARGE_Y), LARGE[:200])


def a_cached_pipeline(jobs):
    with tempfile.TemporaryDirectory() as folder:
        work = pipeline.make_pipeline(
            preprocessing.StandardScaler(), TREE, memory=joblib.Memory(folder, verbose=0)
        )
        grid = {f"decisiontreeclassifier__{name}": values for name, values in GRID.items()}
        return _found(ms.GridSearchCV(work, grid, cv=3, n_jobs=jobs))


def warnings_that_are_errors(jobs):
    hasty = linear_model.LogisticRegression(max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            ms.cross_val_score(hasty, X, Y, cv=3, error_score="raise", n_jobs=jobs)
        except ConvergenceWarning as warning:
            return type(warning).__name__
    return None


def warnings_that_are_ignored(jobs):
    hasty = linear_model.LogisticRegression(max_iter=1)
    said = io.StringIO()
    with redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = ms.cross_val_score(hasty, X, Y, cv=3, n_jobs=jobs)
    return scores, said.getvalue()


def fits_that_fail(jobs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _found(
            ms.GridSearchCV(
                svm.SVC(), {"C": [1.0, -1.0]}, cv=3, error_score=-3.0, refit=False, n_jobs=jobs
            )
        )


def _found(search):
    search.fit(X, Y)
    return {
        name: np.asarray(value).tolist()
        for name, value in search.cv_results_.items()
        if "time" not in name
    }


def _trees(model, rows):
    return [one.apply(rows) for one in model.estimators_], [
        one.tree_.value for one in model.estimators_
    ]


def compare(work):
    """Say "same", or what went otherwise."""
    wanted = work(1)
    try:
        with joblib.parallel_config("adaptive", share_host=False):
            found = work(JOBS)
    except Exception as error:
        return repr(error)
    return "same" if joblib.hash(found) == joblib.hash(wanted) else "other"


WORKLOADS = [
    forest, extra_trees, embedding, isolation_forest, bagging, stacking, stacked_regression, voting,
    grid_search, random_search, halving_search, halving_random_search, a_scorer_without_a_name,
    nested_jobs, cross_val_score, cross_val_predict, cross_validate, learning_curve,
    validation_curve, permutation_test, permutation_importance, partial_dependence, logistic_cv,
    lasso_cv, least_angle_cv, theil_sen, gradient_descent, one_against_rest, one_against_one,
    many_outputs, columns, columns_as_a_frame, neighbour_embedding, embedding_by_neighbours,
    nearest, outliers, distances, clusters, elimination, calibration_of_scores, precision,
    dictionary, large_data, mapped_data, a_cached_pipeline, warnings_that_are_ignored,
    fits_that_fail, warnings_that_are_errors,
]  # fmt: skip

if __name__ == "__main__":
    print(*(f"{work.__name__}: {compare(work)}" for work in WORKLOADS), sep="\n")
