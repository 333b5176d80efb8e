import type * as P from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';

export interface Root {
  options: P.Options;
  custom: Record<string, never>;
}
