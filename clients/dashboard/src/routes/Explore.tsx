import { ExplorePage } from "../features/explore/ExplorePage";

export const Component = ExplorePage;
