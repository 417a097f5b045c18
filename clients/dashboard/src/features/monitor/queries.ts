import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { type Schemas, api } from "../../api/client";

export type Metrics = Schemas["MetricsBody"];
export type History = Schemas["HistoryBody"];
export type Step = Schemas["StepBody"];
export type Inference = Schemas["InferenceBody"];

/** Seconds between two looks; the service counts in steps of five. */
const EVERY_MS = 5_000;

/** Nothing is asked while the tab is hidden, or when somebody pauses. */
function live(on: boolean) {
  return { refetchInterval: on ? EVERY_MS : (false as const), refetchIntervalInBackground: false, staleTime: 0 };
}

export function useMetrics(on: boolean) {
  return useQuery({
    queryKey: ["metrics"],
    queryFn: async ({ signal }) => (await api.GET("/api/metrics", { signal })).data as Metrics,
    ...live(on),
  });
}

export function useHistory(window_s: number, on: boolean) {
  return useQuery({
    queryKey: ["history", window_s],
    queryFn: async ({ signal }) => {
      const query = { window_s, points: window_s > 900 ? 120 : 90 };
      return (await api.GET("/api/metrics/history", { params: { query }, signal })).data as History;
    },
    placeholderData: (previous) => previous,
    ...live(on),
  });
}

export interface Filters {
  status: "ok" | "error" | null;
  model: string;
  quality: string[];
  min_confidence: number | null;
  request_id: string;
  /** Minutes to look back; null for all that is kept. */
  minutes: number | null;
}

export const NO_FILTERS: Filters = {
  status: null, model: "", quality: [], min_confidence: null, request_id: "", minutes: null,
};

type Wish = NonNullable<import("../../api/schema").operations["list_inferences"]["parameters"]["query"]>;

/** The filters as the service takes them: what is empty is left out. */
export function toWish(filters: Filters, now: number): Wish {
  const { status, model, quality, min_confidence, request_id, minutes } = filters;
  return {
    limit: 25,
    ...(status ? { status } : {}),
    ...(model.trim() ? { model: model.trim() } : {}),
    ...(quality.length > 0 ? { quality: quality as NonNullable<Wish["quality"]> } : {}),
    ...(min_confidence !== null ? { min_confidence } : {}),
    ...(request_id.trim() ? { request_id: request_id.trim() } : {}),
    ...(minutes !== null ? { since: new Date(now - minutes * 60_000).toISOString() } : {}),
  };
}

export function useInferences(filters: Filters, on: boolean) {
  return useInfiniteQuery({
    queryKey: ["inferences", filters],
    queryFn: async ({ signal, pageParam }) => {
      const query = { ...toWish(filters, Date.now()), ...(pageParam ? { cursor: pageParam } : {}) };
      return (await api.GET("/api/v2/inferences", { params: { query }, signal })).data as Schemas["InferencesBody"];
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
    placeholderData: (previous) => previous,
    ...live(on),
  });
}
