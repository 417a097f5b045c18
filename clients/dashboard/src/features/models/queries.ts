import { useQuery } from "@tanstack/react-query";
import { type Schemas, api } from "../../api/client";
import { ProblemError } from "../../api/problem";

export type Listed = Schemas["LoadedModelBody"];
export type Detail = Schemas["ModelDetailBody"];
export type Evaluation = Schemas["EvaluationBody"];

export function useModels() {
  return useQuery({
    queryKey: ["models"],
    queryFn: async ({ signal }) => (await api.GET("/api/v2/models", { signal })).data?.models ?? [],
    refetchInterval: 30_000,
    staleTime: 5_000,
  });
}

export function useDetail(model: Listed) {
  const path = { name: model.name, version: model.version };
  return useQuery({
    queryKey: ["model", model.name, model.version, model.digest],
    queryFn: async ({ signal }) =>
      (await api.GET("/api/v2/models/{name}/versions/{version}", { params: { path }, signal })).data as Detail,
  });
}

/** What was measured of a model; null where there is no evaluation of it. */
export function useEvaluation(model: Listed) {
  const path = { name: model.name, version: model.version };
  return useQuery({
    queryKey: ["evaluation", model.name, model.version, model.digest],
    queryFn: async ({ signal }): Promise<Evaluation | ProblemError> => {
      try {
        const found = await api.GET("/api/v2/models/{name}/versions/{version}/evaluation", { params: { path }, signal });
        return found.data as Evaluation;
      } catch (error) {
        if (error instanceof ProblemError && error.document.argument === "evaluation") return error;
        throw error;
      }
    },
  });
}
